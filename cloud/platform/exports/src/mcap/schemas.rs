//! JSON Schemas of the messages. Foxglove knows a position by its schema's name and fields; it takes one type a field, no unions.

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Position,
    Number,
    Boolean,
    Text,
}

macro_rules! time {
    () => {
        r#""timestamp":{"type":"object","title":"time","properties":{"sec":{"type":"integer","minimum":0},"nsec":{"type":"integer","minimum":0,"maximum":999999999}},"required":["sec","nsec"]}"#
    };
}

macro_rules! sample {
    ($kind:literal) => {
        concat!(
            r#"{"type":"object","description":"A value of a signal; the unit stands in the channel's metadata","properties":{"#,
            time!(),
            r#","value":{"type":""#,
            $kind,
            r#""}},"required":["timestamp","value"]}"#
        )
    };
}

/// The fields of Foxglove's `LocationFix` (<https://docs.foxglove.dev/docs/sdk/schemas/location-fix>) that are used here.
const POSITION: &str = concat!(
    r#"{"title":"foxglove.LocationFix","type":"object","properties":{"#,
    time!(),
    r#","frame_id":{"type":"string"},"#,
    r#""latitude":{"type":"number","minimum":-90,"maximum":90},"#,
    r#""longitude":{"type":"number","minimum":-180,"maximum":180},"#,
    r#""altitude":{"type":"number","description":"metres; 0 when the metadata says that it is unknown"},"#,
    r#""position_covariance":{"type":"array","items":{"type":"number"},"minItems":9,"maxItems":9},"#,
    r#""position_covariance_type":{"title":"foxglove.PositionCovarianceType","oneOf":["#,
    r#"{"title":"UNKNOWN","const":0},{"title":"APPROXIMATED","const":1},"#,
    r#"{"title":"DIAGONAL_KNOWN","const":2},{"title":"KNOWN","const":3}]},"#,
    r#""heading":{"type":"number","description":"radians clockwise from north"},"#,
    r#""velocity":{"title":"foxglove.Vector3","type":"object","description":"east, north, up in m/s","#,
    r#""properties":{"x":{"type":"number"},"y":{"type":"number"},"z":{"type":"number"}},"required":["x","y","z"]},"#,
    r#""metadata":{"type":"array","items":{"title":"foxglove.KeyValuePair","type":"object","#,
    r#""properties":{"key":{"type":"string"},"value":{"type":"string"}},"required":["key","value"]}}},"#,
    r#""required":["timestamp","frame_id","latitude","longitude","altitude","position_covariance","position_covariance_type"]}"#,
);

impl Kind {
    /// The schema's name and text.
    pub(super) const fn schema(self) -> (&'static str, &'static str) {
        match self {
            Self::Position => ("foxglove.LocationFix", POSITION),
            Self::Number => ("remuda.Number", sample!("number")),
            Self::Boolean => ("remuda.Boolean", sample!("boolean")),
            Self::Text => ("remuda.Text", sample!("string")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_schema_is_json() {
        for kind in [Kind::Position, Kind::Number, Kind::Boolean, Kind::Text] {
            let schema: serde_json::Value = serde_json::from_str(kind.schema().1).unwrap();
            assert_eq!(schema["type"], "object", "{kind:?}");
        }
    }
}
