//! What is looked after while the business runs: erasures that were cut short, and the file of feature flags.

use std::path::Path;
use std::sync::Arc;

use remuda_eventsourcing::Context;
use remuda_flags::{FlagFile, FlagsError};
use remuda_trips::TripService;
use remuda_trips::making::FlaggedTrip;
use remuda_trips::state::Terms;
use remuda_users::UserCommand;
use tokio::sync::watch;

use crate::limits;
use crate::start::{Parts, pause};

/// Feature flags, in the folder of the business (docs/flags.md); without it every flag is at its default.
const FLAGS: &str = "flags.json";

/// The flags, when there are any, and trips made as they say.
///
/// # Errors
/// When the file is broken: at the start, that is an error.
pub(crate) fn with_flags(
    folder: &Path,
    trips: TripService,
) -> Result<(TripService, Option<Arc<FlagFile>>), FlagsError> {
    let path = folder.join(FLAGS);
    if !path.exists() {
        return Ok((trips, None));
    }
    let flags = Arc::new(FlagFile::open(&path)?);
    let maker = FlaggedTrip::new(Arc::clone(&flags), Terms::default());
    Ok((trips.with_maker(Arc::new(maker)), Some(flags)))
}

/// Reads the file of flags again and again; one that is broken changes nothing.
pub(crate) async fn follow_flags(flags: Arc<FlagFile>, mut stops: watch::Receiver<bool>) {
    while pause(&mut stops, limits::SWEEP_EVERY).await {
        let file = Arc::clone(&flags);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || file.refresh()).await {
            tracing::warn!(%error, "the feature flags stay as they were");
        }
    }
}

/// Finishes erasures that a crash cut short, and deletes keys again that a restored key store brought back.
pub(crate) async fn settle_erasures(parts: Arc<Parts>, mut stops: watch::Receiver<bool>) {
    loop {
        let settled = async {
            parts.riders.projected().caught_up().await.map_err(|error| error.to_string())?;
            parts.users.settle(&parts.organization, &parts.riders).await.map_err(|error| error.to_string())
        };
        tokio::select! {
            outcome = settled => match outcome {
                Ok(_) => return,
                Err(error) => tracing::error!(error, "erasures could not be settled; they are tried again"),
            },
            _ = stops.wait_for(|stops| *stops) => return,
        }
        if !pause(&mut stops, limits::SWEEP_EVERY).await {
            return;
        }
    }
}

/// Takes in what payment providers answer by themselves, late or again.
pub(crate) async fn take_answers(parts: Arc<Parts>, mut stops: watch::Receiver<bool>) {
    while pause(&mut stops, limits::SWEEP_EVERY).await {
        match parts.billing.take_late_answers().await {
            Ok(0) => {}
            Ok(taken) => tracing::info!(taken, "late answers of payment providers were taken in"),
            // The operation is pending: it is asked for again.
            Err(error) => tracing::warn!(%error, "late answers of payment providers were not all kept"),
        }
    }
}

/// Lets credits go that were held for longer than a booking lasts. Reservations need no such thing: one that has run out
/// is taken off when the vehicle is asked for.
pub(crate) async fn expire_holds(parts: &Parts) -> Result<(), String> {
    let mut after: Option<String> = None;
    loop {
        let page = parts.riders.all(&parts.organization, after.as_deref(), limits::USERS_PAGE);
        let page = page.map_err(|error| error.to_string())?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.user.clone());
        for user in page.iter().filter(|user| user.held > 0) {
            let now_ms = (parts.clock)();
            let seen = parts.users.entities().read(&parts.organization, &user.user).await;
            let Ok(seen) = seen else { continue };
            let Some((first, _)) = seen.state.credits.due(now_ms).next() else { continue };
            let context = Context {
                now_ms,
                // What is due is due once: the same wish, however often it is said.
                command_id: format!("expire/{first}"),
                actor: "policy/holds".to_owned(),
                correlation_id: user.user.clone(),
            };
            let asked = parts.users.entities().ask(
                &parts.organization,
                &user.user,
                UserCommand::ExpireHolds,
                context,
            );
            if let Err(error) = asked.await {
                tracing::debug!(user_id = user.user, %error, "holds were not looked at; they are soon");
            }
        }
    }
}
