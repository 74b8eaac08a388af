//! Messages to people.

use remuda_api::notifications::v1::notification_service_server::NotificationService;
use remuda_api::notifications::v1::{
    GetNotificationRequest, GetPreferencesRequest, ListNotificationsRequest, ListNotificationsResponse,
    Notification, Preferences, QuietHours, ResendNotificationRequest, SetPreferencesRequest,
};
use remuda_contracts::business::notifications::{
    NotificationFilter, NotificationView, PreferencesView, QuietView,
};
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, page, reason};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{field, who};

/// Ids of messages hold slashes and colons, which mean something in names.
fn to_name(id: &str) -> String {
    id.replace(':', "~~").replace('/', "~")
}

fn from_name(name: &str) -> String {
    name.replace("~~", ":").replace('~', "/")
}

fn preferences(view: PreferencesView) -> Preferences {
    Preferences {
        locale: view.locale,
        channels: view.channels,
        quiet_hours: view.quiet.map(|quiet| QuietHours {
            from_minute: u32::from(quiet.from_minute),
            to_minute: u32::from(quiet.to_minute),
            utc_offset_minutes: i32::from(quiet.utc_offset_minutes),
        }),
    }
}

fn quiet(hours: &QuietHours) -> Result<QuietView, Refusal> {
    let bad = || field("preferences.quiet_hours", "minutes of the day are 0 to 1439, an offset -720 to 840");
    let minute = |minute: u32| u16::try_from(minute).ok().filter(|minute| *minute < 1_440).ok_or_else(bad);
    let offset = i16::try_from(hours.utc_offset_minutes).ok().filter(|offset| (-720..=840).contains(offset));
    Ok(QuietView {
        from_minute: minute(hours.from_minute)?,
        to_minute: minute(hours.to_minute)?,
        utc_offset_minutes: offset.ok_or_else(bad)?,
    })
}

impl Business {
    fn notification_of(&self, view: NotificationView) -> Notification {
        Notification {
            name: convert::name_of(self.scope.organization, "notifications", &to_name(&view.id)),
            recipient: view.recipient,
            channel: view.channel.to_owned(),
            kind: view.kind,
            state: view.state.to_owned(),
            create_time: convert::some_time(view.requested_ms),
            update_time: convert::some_time(view.changed_ms),
            failure: view.failure,
        }
    }

    async fn notification(&self, request: GetNotificationRequest) -> Result<Notification, Refusal> {
        let id = from_name(&self.scope.child("notifications", &request.name)?);
        let view = self.desk.notification(&self.scope.organization, &id).await;
        view.map(|view| self.notification_of(view)).map_err(Refusal::business)
    }

    async fn notifications(
        &self,
        request: ListNotificationsRequest,
    ) -> Result<ListNotificationsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("notifications {} {}", request.dead_letters, request.recipient);
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let filter = match (request.dead_letters, request.recipient.as_str()) {
            (true, "") => NotificationFilter::DeadLetters,
            (true, _) => return Err(field("recipient", "dead letters are not listed by recipient")),
            (false, "") => NotificationFilter::All,
            (false, recipient) => NotificationFilter::Recipient(recipient),
        };
        let found = self.desk.notifications(&self.scope.organization, filter, after.as_deref(), size).await;
        let (found, next) = found.map_err(Refusal::business)?;
        Ok(ListNotificationsResponse {
            notifications: found.into_iter().map(|view| self.notification_of(view)).collect(),
            next_page_token: next.map(|next| PageToken::write_text(&next, &of)).unwrap_or_default(),
        })
    }

    async fn resend(&self, request: ResendNotificationRequest, who: String) -> Result<Notification, Refusal> {
        let id = from_name(&self.scope.child("notifications", &request.name)?);
        reason(&request.reason)?;
        let asker = asker(who, String::new())?;
        let view = self.desk.resend(&self.scope.organization, &id, asker).await;
        view.map(|view| self.notification_of(view)).map_err(Refusal::business)
    }

    async fn wishes(&self, request: GetPreferencesRequest) -> Result<Preferences, Refusal> {
        let user = self.scope.child("users", &request.name)?;
        let view = self.desk.preferences(&self.scope.organization, &user).await;
        view.map(preferences).map_err(Refusal::business)
    }

    async fn set_wishes(&self, request: SetPreferencesRequest, who: String) -> Result<Preferences, Refusal> {
        let user = self.scope.child("users", &request.name)?;
        let given = request.preferences.ok_or_else(|| field("preferences", "it is missing"))?;
        let wishes = PreferencesView {
            quiet: given.quiet_hours.as_ref().map(quiet).transpose()?,
            locale: given.locale,
            channels: given.channels,
        };
        let asker = asker(who, request.request_id)?;
        let view = self.desk.set_preferences(&self.scope.organization, &user, wishes, asker).await;
        view.map(preferences).map_err(Refusal::business)
    }
}

#[tonic::async_trait]
impl NotificationService for Business {
    async fn get_notification(
        &self,
        request: Request<GetNotificationRequest>,
    ) -> Result<Response<Notification>, Status> {
        self.scope.measured("GetNotification", self.notification(request.into_inner())).await
    }

    async fn list_notifications(
        &self,
        request: Request<ListNotificationsRequest>,
    ) -> Result<Response<ListNotificationsResponse>, Status> {
        self.scope.measured("ListNotifications", self.notifications(request.into_inner())).await
    }

    async fn resend_notification(
        &self,
        request: Request<ResendNotificationRequest>,
    ) -> Result<Response<Notification>, Status> {
        let who = who(&request);
        self.scope.measured("ResendNotification", self.resend(request.into_inner(), who)).await
    }

    async fn get_preferences(
        &self,
        request: Request<GetPreferencesRequest>,
    ) -> Result<Response<Preferences>, Status> {
        self.scope.measured("GetPreferences", self.wishes(request.into_inner())).await
    }

    async fn set_preferences(
        &self,
        request: Request<SetPreferencesRequest>,
    ) -> Result<Response<Preferences>, Status> {
        let who = who(&request);
        self.scope.measured("SetPreferences", self.set_wishes(request.into_inner(), who)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_messages_survive_being_names() {
        let id = "booking/b-1/confirmed:in-app";
        assert_eq!(to_name(id), "booking~b-1~confirmed~~in-app");
        assert_eq!(from_name(&to_name(id)), id);
    }
}
