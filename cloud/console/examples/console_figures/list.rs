//! Pages of a filtered list.

use std::time::Instant;

use remuda_api::vehicles::v1::ListVehiclesRequest;
use serde_json::{Value, json};

use crate::numbers::Times;
use crate::{Console, Failure, PARENT};

/// Those with little charge that are there: one in twenty or so.
const FILTER: &str = "presence = ONLINE AND charge_percent < 5";

/// One page after the other, from the first again after the last.
pub async fn measure(console: &Console, pages: usize) -> Result<Value, Failure> {
    let mut client = console.vehicles().await?;
    let (mut times, mut page_token, mut total, mut found) = (Vec::new(), String::new(), 0, 0);
    for _ in 0..pages {
        let request = ListVehiclesRequest {
            parent: PARENT.into(),
            page_size: 50,
            page_token,
            filter: FILTER.into(),
            ..Default::default()
        };
        let asked = Instant::now();
        let page = client.list_vehicles(request).await?.into_inner();
        times.push(asked.elapsed());
        total = page.total_size;
        found += page.vehicles.len();
        page_token = page.next_page_token;
    }
    let times = Times::new(times);
    Ok(json!({ "p50_ms": times.at(0.5), "p95_ms": times.at(0.95), "vehicles": total, "found": found }))
}
