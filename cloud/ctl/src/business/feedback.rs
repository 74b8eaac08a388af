//! `remudactl trips feedback`: what riders say of their trips.

use clap::Subcommand;
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::trips::v1::feedback_service_client::FeedbackServiceClient;
use remuda_api::trips::v1::{CreateFeedbackRequest, Feedback, GetFeedbackRequest, ListFeedbackRequest};
use serde_json::{Value, json};

use super::{PAGE, Session};
use crate::error::CtlError;
use crate::table::{Cell, cell};
use crate::text::{id, rfc3339};

/// What can be done with feedback.
#[derive(Debug, Subcommand)]
pub enum FeedbackCommand {
    /// Lists feedback, what was said last first.
    List {
        /// Only feedback with so many stars.
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..=5))]
        stars: Option<i32>,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows what was said of one trip.
    Get {
        /// The trip's id.
        trip: String,
    },
    /// Writes down what a rider says of their trip; for a day it can be said otherwise.
    Give {
        /// The trip's id.
        trip: String,
        /// Who rode: a user's id.
        #[arg(long)]
        rider: String,
        /// 1 to 5.
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..=5))]
        stars: i32,
        /// In their words; sealed under their key.
        #[arg(long, default_value = "")]
        comment: String,
        /// Names the wish, so that the same again is the same.
        #[arg(long, default_value = "")]
        request_id: String,
    },
}

impl Session<'_> {
    /// Runs a command about feedback.
    pub(super) async fn feedback(&mut self, command: FeedbackCommand) -> Result<(), CtlError> {
        let mut client =
            FeedbackServiceClient::new(self.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let one = match command {
            FeedbackCommand::List { stars, limit } => {
                let (mut all, mut page_token) = (Vec::new(), String::new());
                loop {
                    let request = self.request(ListFeedbackRequest {
                        parent: self.parent(),
                        page_size: i32::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE),
                        page_token,
                        stars: stars.unwrap_or_default(),
                    });
                    let page = client.list_feedback(request).await?.into_inner();
                    all.extend(page.feedback);
                    page_token = page.next_page_token;
                    if page_token.is_empty() || all.len() >= limit {
                        break;
                    }
                }
                all.truncate(limit);
                return self.print_feedback(&all);
            }
            FeedbackCommand::Get { trip } => {
                let request = self.request(GetFeedbackRequest { name: self.name("feedback", &trip) });
                client.get_feedback(request).await?.into_inner()
            }
            FeedbackCommand::Give { trip, rider, stars, comment, request_id } => {
                let parent = self.parent();
                let request =
                    self.request(CreateFeedbackRequest { parent, trip, rider, stars, comment, request_id });
                client.create_feedback(request).await?.into_inner()
            }
        };
        self.print_feedback(std::slice::from_ref(&one))
    }

    fn print_feedback(&mut self, all: &[Feedback]) -> Result<(), CtlError> {
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        let rows: Vec<Vec<Cell>> = all.iter().map(row).collect();
        let heads = ["TRIP", "RIDER", "VEHICLE", "STARS", "SAID", "COMMENT"];
        self.print(("feedback", &heads), &names, all.iter().map(feedback_json).collect(), &rows)
    }
}

fn row(one: &Feedback) -> Vec<Cell> {
    let comment = if one.comment_erased { "(erased)".to_owned() } else { one.comment.clone() };
    vec![
        cell(id(&one.name)),
        cell(one.rider.clone()),
        cell(one.vehicle.clone()),
        cell(one.stars.to_string()).right(),
        cell(one.update_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(comment),
    ]
}

fn feedback_json(one: &Feedback) -> Value {
    json!({
        "name": one.name,
        "rider": one.rider,
        "vehicle": one.vehicle,
        "stars": one.stars,
        "comment": one.comment,
        "commentErased": one.comment_erased,
        "createTime": one.create_time.as_ref().map(rfc3339),
        "updateTime": one.update_time.as_ref().map(rfc3339),
    })
}
