//! Currencies in use (ISO 4217) and their minor units.

use remuda_contracts::money::Currency;

/// Codes whose minor unit is not a hundredth, with its decimals.
const OTHERWISE: &[(&str, u8)] = &[
    ("BHD", 3),
    ("BIF", 0),
    ("CLP", 0),
    ("DJF", 0),
    ("GNF", 0),
    ("IQD", 3),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KMF", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("LYD", 3),
    ("OMR", 3),
    ("PYG", 0),
    ("RWF", 0),
    ("TND", 3),
    ("UGX", 0),
    ("VND", 0),
    ("VUV", 0),
    ("XAF", 0),
    ("XOF", 0),
    ("XPF", 0),
];

/// Codes whose minor unit is a hundredth.
const HUNDREDTHS: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY \
    COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR \
    IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN \
    NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL \
    THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG";

/// Decimals of the minor unit: 2 for EUR (cents), 0 for JPY. Nothing for a code that is no currency in use.
pub fn decimals(currency: Currency) -> Option<u8> {
    let code = currency.as_str();
    let special = OTHERWISE.iter().find(|(known, _)| *known == code).map(|(_, decimals)| *decimals);
    special.or_else(|| HUNDREDTHS.split_ascii_whitespace().any(|known| known == code).then_some(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_as_the_standard_says() {
        for (code, expected) in [
            ("EUR", Some(2)),
            ("JPY", Some(0)),
            ("KWD", Some(3)),
            ("ZZZ", None),
            ("DEM", None),
            ("USD", Some(2)),
        ] {
            assert_eq!(decimals(code.parse().expect("a code")), expected, "{code}");
        }
    }
}
