//! What riders say of their trips.

use remuda_api::trips::v1::feedback_service_server::FeedbackService;
use remuda_api::trips::v1::{
    CreateFeedbackRequest, Feedback, GetFeedbackRequest, ListFeedbackRequest, ListFeedbackResponse,
};
use remuda_contracts::business::feedback::{FeedbackView, GiveFeedback, Words};
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, page_for};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{field, sight, who};
use crate::sight::Sight;

/// A number of stars.
fn stars(stars: i32) -> Result<u8, Refusal> {
    let given = u8::try_from(stars).ok().filter(|stars| (1..=5).contains(stars));
    given.ok_or_else(|| field("stars", "a rating has 1 to 5 stars"))
}

impl Business {
    fn feedback_of(&self, view: FeedbackView) -> Feedback {
        Feedback {
            name: convert::name_of(self.scope.organization, "feedback", &view.trip),
            rider: view.rider,
            vehicle: view.vehicle,
            stars: view.stars.into(),
            comment: view.comment.map(|words| words.0).unwrap_or_default(),
            comment_erased: view.comment_erased,
            create_time: convert::some_time(view.rated_ms),
            update_time: convert::some_time(view.changed_ms),
        }
    }

    async fn give_feedback(
        &self,
        request: CreateFeedbackRequest,
        who: String,
        sight: &Sight,
    ) -> Result<Feedback, Refusal> {
        self.scope.parent(&request.parent)?;
        for (name, text) in [("trip", &request.trip), ("rider", &request.rider)] {
            if text.is_empty() {
                return Err(field(name, "it is empty"));
            }
        }
        self.check_trip(&request.trip, sight).await?;
        let wish = GiveFeedback {
            trip: request.trip,
            rider: request.rider,
            stars: stars(request.stars)?,
            comment: Some(request.comment.trim())
                .filter(|text| !text.is_empty())
                .map(|text| Words(text.into())),
        };
        let asker = asker(who, request.request_id)?;
        let view = self.desk.give_feedback(&self.scope.organization, wish, asker).await;
        view.map(|view| self.feedback_of(view)).map_err(Refusal::business)
    }

    async fn feedback(&self, request: GetFeedbackRequest, sight: &Sight) -> Result<Feedback, Refusal> {
        let trip = self.scope.child("feedback", &request.name)?;
        self.check_trip(&trip, sight).await?;
        let view = self.desk.feedback(&self.scope.organization, &trip).await;
        view.map(|view| self.feedback_of(view)).map_err(Refusal::business)
    }

    async fn all_feedback(
        &self,
        request: ListFeedbackRequest,
        sight: &Sight,
    ) -> Result<ListFeedbackResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("feedback {}", request.stars);
        let (size, after) = page_for(sight, request.page_size, &request.page_token, &of)?;
        let wanted = Some(request.stars).filter(|stars| *stars != 0).map(stars).transpose()?;
        let found = self.desk.feedback_list(&self.scope.organization, wanted, after.as_deref(), size).await;
        let ((found, next), seen) = (found.map_err(Refusal::business)?, sight.seen()?);
        Ok(ListFeedbackResponse {
            // A page may be shorter for it; the next one goes on behind what was left out.
            feedback: found
                .into_iter()
                .filter(|view| seen.has_named(&view.vehicle))
                .map(|view| self.feedback_of(view))
                .collect(),
            next_page_token: next.map(|next| PageToken::write_for(sight, &next, &of)).unwrap_or_default(),
        })
    }
}

#[tonic::async_trait]
impl FeedbackService for Business {
    async fn create_feedback(
        &self,
        request: Request<CreateFeedbackRequest>,
    ) -> Result<Response<Feedback>, Status> {
        let (who, sight) = (who(&request), sight(&request));
        self.scope.measured("CreateFeedback", self.give_feedback(request.into_inner(), who, &sight)).await
    }

    async fn get_feedback(&self, request: Request<GetFeedbackRequest>) -> Result<Response<Feedback>, Status> {
        let sight = sight(&request);
        self.scope.measured("GetFeedback", self.feedback(request.into_inner(), &sight)).await
    }

    async fn list_feedback(
        &self,
        request: Request<ListFeedbackRequest>,
    ) -> Result<Response<ListFeedbackResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListFeedback", self.all_feedback(request.into_inner(), &sight)).await
    }
}
