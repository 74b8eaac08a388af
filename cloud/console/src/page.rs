//! Page tokens: the last vehicle of the page, bound to the filter it was made with. Stable while vehicles come and go,
//! since the next page starts after a name and not at a number.

use remuda_model::{VehicleId, shard};

/// See the module.
#[derive(Debug)]
pub struct PageToken;

const FOREIGN: &str = "this is not a token that this method gave out";

impl PageToken {
    /// A token that goes on after a vehicle.
    pub fn write(last: &VehicleId, filter: &str) -> String {
        Self::write_text(last.as_str(), filter)
    }

    /// For pages of anything that has an id.
    pub fn write_text(last: &str, filter: &str) -> String {
        format!("1.{:016x}.{last}", fingerprint(filter))
    }

    /// The vehicle to start after; none for an empty token.
    ///
    /// # Errors
    /// When it is no token, or was given out for another filter.
    pub fn read(token: &str, filter: &str) -> Result<Option<VehicleId>, &'static str> {
        let after = Self::read_text(token, filter)?;
        after.map(|vehicle| VehicleId::new(&vehicle).map_err(|_| FOREIGN)).transpose()
    }

    /// The id to start after; none for an empty token.
    ///
    /// # Errors
    /// When it is no token, or was given out for another filter.
    pub fn read_text(token: &str, filter: &str) -> Result<Option<String>, &'static str> {
        if token.is_empty() {
            return Ok(None);
        }
        let mut parts = token.splitn(3, '.');
        let (Some("1"), Some(print), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(FOREIGN);
        };
        let print = u64::from_str_radix(print, 16).map_err(|_| FOREIGN)?;
        if print != fingerprint(filter) {
            return Err("it was given out for another filter");
        }
        Ok(Some(id.to_owned()))
    }
}

fn fingerprint(filter: &str) -> u64 {
    shard::fnv1a_64(filter.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_bound_to_their_filter() {
        let vehicle = VehicleId::new("V7").unwrap();
        let token = PageToken::write(&vehicle, "open_alerts > 0");
        assert_eq!(PageToken::read(&token, "open_alerts > 0"), Ok(Some(vehicle)));
        assert!(PageToken::read(&token, "").is_err());
        assert_eq!(PageToken::read("", "x"), Ok(None));
        for text in ["x", "1", "1.2", "2.0.V7", "1.zz.V7", &token[..token.len() - 2], &format!("{token}/")] {
            assert!(PageToken::read(text, "open_alerts > 0").is_err(), "{text}");
        }
    }
}
