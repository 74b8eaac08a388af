//! `remudactl trips share`, `shares`, `unshare` and `track`.

use clap::Subcommand;
use remuda_api::ShareName;
use remuda_api::trips::v1::trip_service_client::TripServiceClient;
use remuda_api::trips::v1::{
    ListSharesRequest, RevokeShareRequest, Share, ShareTripRequest, TrackTripRequest, TrackTripResponse,
};
use serde_json::{Value, json};
use tonic::Request;

use super::Session;
use crate::args::OutputFormat;
use crate::client::Service;
use crate::error::CtlError;
use crate::run::next_or_ctrl_c;
use crate::table::{Cell, cell};
use crate::text::{id, rfc3339};

/// What can be done with share links.
#[derive(Debug, Subcommand)]
pub enum SharingCommand {
    /// Makes a link with which somebody without an account follows a trip. It is shown once.
    Share {
        /// The trip's id.
        trip: String,
        /// How long it lasts, minutes; it ends two hours after the trip in any case.
        #[arg(long, default_value_t = 1_440, value_parser = clap::value_parser!(i64).range(1..=1_440))]
        for_minutes: i64,
    },
    /// Lists the links that open a trip now.
    Shares {
        /// The trip's id.
        trip: String,
    },
    /// Takes a link back.
    Unshare {
        /// The trip's id.
        trip: String,
        /// The link's id.
        share: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Follows a trip until it ends: its state, where its vehicle is, when it arrives.
    Track {
        /// The trip's id.
        trip: String,
        /// End after so many updates.
        #[arg(long)]
        updates: Option<u64>,
    },
}

impl Session<'_> {
    /// Runs a command about share links.
    pub(super) async fn sharing(
        &mut self,
        mut client: TripServiceClient<Service>,
        command: SharingCommand,
    ) -> Result<(), CtlError> {
        match command {
            SharingCommand::Share { trip, for_minutes } => {
                let time_to_live = Some(prost_types::Duration { seconds: for_minutes * 60, nanos: 0 });
                let request =
                    self.request(ShareTripRequest { name: self.name("trips", &trip), time_to_live });
                let made = client.share_trip(request).await?.into_inner();
                let link = format!("{}{}", self.global.target.address, made.path);
                let share = made.share.unwrap_or_default();
                match self.global.output {
                    OutputFormat::Json => {
                        let mut document = share_json(&share);
                        document["token"] = made.token.into();
                        document["link"] = link.into();
                        writeln!(self.out, "{document:#}")?;
                    }
                    OutputFormat::Name => writeln!(self.out, "{}", share.name)?,
                    OutputFormat::Table | OutputFormat::Wide => {
                        writeln!(self.out, "{link}")?;
                        let until = share.expire_time.as_ref().map(rfc3339).unwrap_or_default();
                        eprintln!(
                            "link {} of {trip} lasts until {until}; it is not shown again",
                            id(&share.name)
                        );
                    }
                }
                self.out.flush()?;
                Ok(())
            }
            SharingCommand::Shares { trip } => {
                let request = self.request(ListSharesRequest { parent: self.name("trips", &trip) });
                let shares = client.list_shares(request).await?.into_inner().shares;
                let names: Vec<&str> = shares.iter().map(|share| share.name.as_str()).collect();
                let documents = shares.iter().map(share_json).collect();
                let row = |share: &Share| {
                    vec![
                        cell(id(&share.name)),
                        cell(share.expire_time.as_ref().map(rfc3339).unwrap_or_default()),
                    ]
                };
                let rows: Vec<Vec<Cell>> = shares.iter().map(row).collect();
                self.print(("shares", &["SHARE", "EXPIRES"]), &names, documents, &rows)
            }
            SharingCommand::Unshare { trip, share, reason } => {
                let organization = self.global.organization.clone();
                let name = ShareName { organization, trip: trip.clone(), share: share.clone() }.to_string();
                client.revoke_share(self.request(RevokeShareRequest { name, reason })).await?;
                eprintln!("link {share} of {trip} opens nothing any more");
                Ok(())
            }
            SharingCommand::Track { trip, updates } => {
                // No deadline: it ends with the trip.
                let request = Request::new(TrackTripRequest { name: self.name("trips", &trip) });
                let mut stream = client.track_trip(request).await?.into_inner();
                let mut seen = 0;
                while let Some(at) = next_or_ctrl_c(&mut stream).await? {
                    match self.global.output {
                        OutputFormat::Json => writeln!(self.out, "{}", track_json(&at))?,
                        _ => writeln!(self.out, "{}", track_line(&at))?,
                    }
                    self.out.flush()?;
                    seen += 1;
                    if updates.is_some_and(|most| seen >= most) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

fn share_json(share: &Share) -> Value {
    json!({ "name": share.name, "expireTime": share.expire_time.as_ref().map(rfc3339) })
}

fn track_json(at: &TrackTripResponse) -> Value {
    json!({
        "serverTime": at.server_time.as_ref().map(rfc3339),
        "state": at.state,
        "vehicle": at.vehicle.as_ref().map(|vehicle| json!({
            "plate": vehicle.plate,
            "manufacturer": vehicle.manufacturer,
            "model": vehicle.model,
        })),
        "position": at.position.as_ref().map(|at| json!({
            "latitude": at.latitude,
            "longitude": at.longitude,
            "headingDeg": at.heading_deg,
            "speedKmh": at.speed_kmh,
            "time": at.time.as_ref().map(rfc3339),
            "stale": at.stale,
        })),
        "nextStop": at.next_stop,
        "arrivalTime": at.arrival_time.as_ref().map(rfc3339),
        "remainingM": at.remaining_m,
    })
}

fn track_line(at: &TrackTripResponse) -> String {
    let mut line = format!("{}  {:<10}", at.server_time.as_ref().map(rfc3339).unwrap_or_default(), at.state);
    if let Some(position) = &at.position {
        let old = if position.stale { ", old" } else { "" };
        line += &format!(
            "  {:.5},{:.5}{old}  {:.0} km/h",
            position.latitude, position.longitude, position.speed_kmh
        );
    }
    if !at.next_stop.is_empty() {
        line += &format!("  to the {}", at.next_stop);
    }
    if let Some(metres) = at.remaining_m {
        line += &format!("  {metres} m");
    }
    if let Some(arrival) = &at.arrival_time {
        line += &format!("  at {}", rfc3339(arrival));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use remuda_api::trips::v1::TrackedPosition;

    #[test]
    fn a_line_says_where_and_when() {
        let at = TrackTripResponse {
            state: "under-way".into(),
            position: Some(TrackedPosition {
                latitude: 60.17,
                longitude: 24.94,
                speed_kmh: 31.6,
                stale: true,
                ..TrackedPosition::default()
            }),
            next_stop: "drop-off".into(),
            remaining_m: Some(1_200),
            ..TrackTripResponse::default()
        };
        assert_eq!(
            track_line(&at).trim(),
            "under-way   60.17000,24.94000, old  32 km/h  to the drop-off  1200 m"
        );
        let ended = TrackTripResponse { state: "completed".into(), ..TrackTripResponse::default() };
        assert_eq!(track_line(&ended).trim(), "completed");
    }
}
