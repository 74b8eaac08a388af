//! What we know of a person, for the person (GDPR articles 15 and 20): JSON.

use serde_json::{Map, Value, json};

use super::key::UserRef;
use super::vault::{Opened, Vault, VaultError};
use crate::credits::HoldEnd;
use crate::state::{User, UserPhase};

/// How an erased field reads.
pub const ERASED: &str = "erased";

/// Everything that the aggregate knows of a user; times are ms since 1970 UTC, amounts minor units.
///
/// # Errors
/// When the key store fails.
pub fn export(user_ref: &UserRef, user: &User, vault: &Vault) -> Result<Value, VaultError> {
    let open = |field: &str, sealed| {
        vault.open(user_ref, field, sealed).map(|opened| match opened {
            Opened::Text(text) => Value::String(text),
            Opened::Erased => Value::String(ERASED.into()),
        })
    };
    let profile: Map<String, Value> = if user.phase == UserPhase::Erased {
        [("name".to_owned(), Value::String(ERASED.into()))].into_iter().collect()
    } else {
        user.profile
            .iter()
            .map(|(field, sealed)| Ok((field.name().to_owned(), open(field.name(), sealed)?)))
            .collect::<Result<_, VaultError>>()?
    };
    let licences = user
        .licences
        .iter()
        .map(|licence| {
            Ok(json!({
                "id": licence.id,
                "number": open(&licence_field(&licence.id), &licence.number)?,
                "classes": licence.classes,
                "valid_until_ms": licence.valid_until_ms,
            }))
        })
        .collect::<Result<Vec<_>, VaultError>>()?;
    let consents: Vec<Value> = user
        .consents
        .iter()
        .map(|(purpose, consent)| {
            json!({ "purpose": purpose, "version": consent.version, "given": consent.given, "time_ms": consent.time_ms })
        })
        .collect();
    let holds: Vec<Value> = user
        .credits
        .holds
        .iter()
        .map(|(key, hold)| json!({ "key": key, "amount": hold.amount, "expires_ms": hold.expires_ms }))
        .collect();
    let paid: Vec<Value> = user
        .credits
        .ended
        .iter()
        .filter_map(|ended| match ended.end {
            HoldEnd::Captured { amount, refunded } => {
                Some(json!({ "key": ended.key, "amount": amount, "refunded": refunded }))
            }
            HoldEnd::Released | HoldEnd::Expired => None,
        })
        .collect();
    let top_ups: Vec<Value> = user
        .credits
        .references
        .iter()
        .map(|known| json!({ "reference": known.reference, "amount": known.amount }))
        .collect();
    Ok(json!({
        "organization": user_ref.organization().as_str(),
        "user": user_ref.user(),
        "state": user.phase,
        "registered_ms": user.registered_ms,
        "roles": user.roles,
        "profile": profile,
        "preferences": user.preferences,
        "consents": consents,
        "licences": licences,
        "driven": user.driven,
        "credits": {
            "currency": user.credits.currency,
            "available": user.credits.available,
            "held": user.credits.held(),
            "holds": holds,
            "paid": paid,
            "came_in": top_ups,
        },
    }))
}

/// Under which name a licence's number is sealed.
pub fn licence_field(id: &str) -> String {
    format!("licence/{id}/number")
}
