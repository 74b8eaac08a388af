//! No call to the provider avoids the figures.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use remuda_billing::metrics::PaymentMetrics;
use remuda_billing::money::{Currency, Money};
use remuda_billing::payment::{Method, OperationKind};
use remuda_billing::provider::{
    Gateway, PaymentProvider, ProviderAnswer, ProviderError, ProviderRequest, StatementLine,
};

/// Answers as the key says.
struct Scripted;

#[async_trait]
impl PaymentProvider for Scripted {
    async fn call(&self, request: &ProviderRequest) -> Result<ProviderAnswer, ProviderError> {
        match request.key.as_str() {
            "done" => Ok(ProviderAnswer::Done { reference: "r".into() }),
            "declined" => Ok(ProviderAnswer::Declined { code: "no".into() }),
            "unavailable" => Err(ProviderError::Unavailable("503".into())),
            "lost" => Err(ProviderError::Lost("reset".into())),
            _ => pending().await,
        }
    }

    async fn statement(&self, _: i64, _: i64) -> Result<Vec<StatementLine>, ProviderError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn an_attempt_ends_as_one_success_or_one_failure() {
    let metrics = PaymentMetrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let gateway = Gateway::new(Arc::new(Scripted), metrics).with_timeout(Duration::from_millis(20));
    let request = |key: &str, minor_units: Option<i64>| ProviderRequest {
        key: key.into(),
        payment: "t".into(),
        payer: "ada".into(),
        kind: OperationKind::Capture,
        method: Method::Card,
        amount: minor_units.map(|minor_units| Money { minor_units, currency: Currency::EUR }),
        reference: None,
        on_key: None,
        now_ms: 0,
    };
    for (key, amount) in [
        ("done", Some(999)),
        ("declined", Some(1_000)),
        ("unavailable", Some(5_000)),
        ("lost", Some(10_000)),
        ("hang", Some(50_000)),
        ("done", None),
    ] {
        let _ = gateway.call(&request(key, amount)).await;
    }
    let hung = gateway.call(&request("hang", Some(999))).await;
    assert!(matches!(hung, Err(ProviderError::Timeout(_))), "{hung:?}");
    // Given up by its caller in the middle: it still ends.
    let slow = gateway.clone().with_timeout(Duration::from_secs(600));
    let _ = tokio::time::timeout(Duration::from_millis(5), slow.call(&request("hang", Some(999)))).await;
    let mut text = String::new();
    encode(&mut text, &registry).expect("text");
    for line in [
        "remuda_billing_payment_attempts_total{payment_method=\"card\",amount_range=\"0-10\"} 3",
        "remuda_billing_payment_attempts_total{payment_method=\"card\",amount_range=\"10-50\"} 1",
        "remuda_billing_payment_attempts_total{payment_method=\"card\",amount_range=\"50-100\"} 1",
        "remuda_billing_payment_attempts_total{payment_method=\"card\",amount_range=\"100-500\"} 1",
        "remuda_billing_payment_attempts_total{payment_method=\"card\",amount_range=\"500+\"} 1",
        "remuda_billing_payment_attempts_total{payment_method=\"card\",amount_range=\"none\"} 1",
        "remuda_billing_payment_success_total 2",
        "remuda_billing_payment_failure_total{error_type=\"declined\"} 1",
        "remuda_billing_payment_failure_total{error_type=\"unavailable\"} 1",
        "remuda_billing_payment_failure_total{error_type=\"lost\"} 1",
        "remuda_billing_payment_failure_total{error_type=\"timeout\"} 2",
        "remuda_billing_payment_failure_total{error_type=\"cancelled\"} 1",
        "remuda_billing_payment_duration_seconds_count 7",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}
