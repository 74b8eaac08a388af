//! The ride business over gRPC: trips, users, sagas.

mod convert;
mod sagas;
mod trips;
mod users;

use std::sync::Arc;

use remuda_contracts::business::{Asker, BusinessDesk};

use crate::limits;
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{Scope, field};

/// The three services, over one desk.
#[derive(Clone)]
pub(crate) struct Business {
    pub desk: Arc<dyn BusinessDesk>,
    pub scope: Scope,
}

/// Longest name of a request.
const REQUEST_ID_BYTES: usize = 64;

/// Who asks. A request without a name gets one: repeated, it is another request.
fn asker(who: String, request_id: String) -> Result<Asker, Refusal> {
    let request_id = match request_id {
        id if id.is_empty() => format!("{:032x}", rand::random::<u128>()),
        id => id,
    };
    let permitted = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if request_id.len() > REQUEST_ID_BYTES || !request_id.bytes().all(permitted) {
        return Err(field("request_id", "it has 1 to 64 characters out of a-z, A-Z, 0-9, - and _"));
    }
    Ok(Asker { who, request_id })
}

/// How many, and after which: what a page's fields say.
fn page(size: i32, token: &str, of: &str) -> Result<(usize, Option<String>), Refusal> {
    let size = match usize::try_from(size) {
        Ok(0) => limits::PAGE_DEFAULT,
        Ok(size) => size.min(limits::PAGE_MAX),
        Err(_) => return Err(field("page_size", "it is below 0")),
    };
    Ok((size, PageToken::read_text(token, of).map_err(|e| field("page_token", e))?))
}
