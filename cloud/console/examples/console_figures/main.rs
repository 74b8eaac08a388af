//! What the operators' API does per second, asked by a client in a process of its own. Prints one JSON object.
//!
//! ```text
//! cargo run --release -p remuda-console --example console_figures -- hello                       serves nothing but a bare health check
//! ... -- bare URL SECONDS                                 asks that one: 100 unary calls at once
//! ... -- unary URL TOKEN SECONDS                          GetVehicle, 100 at once
//! ... -- list URL TOKEN PAGES                             pages of a filtered list, one after the other
//! ... -- watch URL TOKEN SECONDS WATCHERS PID [COUNT]     watchers of everything, or of COUNT vehicles each; PID is the `fake_fleet`
//! ... -- rest URL TOKEN SECONDS RATE                      reads over HTTP/1.1, so many a second, whatever the answers take
//! ... -- commands URL TOKEN SECONDS                       honks of vehicles that are online, from asked to done
//! ```

mod commands;
mod list;
mod numbers;
mod rest;
mod unary;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_api::vehicles::v1::{ListVehiclesRequest, Vehicle};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The organization of a node that was not told another one.
const PARENT: &str = "organizations/default";
/// Vehicles that questions are spread over.
const VEHICLES: usize = 1_000;

/// Says who asks.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A console, and who asks it.
struct Console {
    url: String,
    token: String,
}

impl Console {
    fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned() }
    }

    fn bearer(&self) -> Result<Bearer, Failure> {
        Ok(Bearer(format!("Bearer {}", self.token).parse()?))
    }

    /// One of the callers of a `fake_fleet`.
    fn account(&self, number: u8) -> Result<Bearer, Failure> {
        Ok(Bearer(format!("Bearer {}-{number}", self.token).parse()?))
    }

    async fn vehicles(&self) -> Result<VehicleServiceClient<InterceptedService<Channel, Bearer>>, Failure> {
        Ok(VehicleServiceClient::with_interceptor(channel(&self.url).await?, self.bearer()?))
    }

    /// At most `VEHICLES` of those that match.
    async fn some(&self, filter: &str) -> Result<Vec<Vehicle>, Failure> {
        let request = ListVehiclesRequest {
            parent: PARENT.into(),
            page_size: i32::try_from(VEHICLES)?,
            filter: filter.into(),
            ..Default::default()
        };
        let page = self.vehicles().await?.list_vehicles(request).await?.into_inner().vehicles;
        if page.is_empty() { Err(format!("no vehicle is {filter:?}").into()) } else { Ok(page) }
    }
}

async fn channel(url: &str) -> Result<Channel, Failure> {
    Ok(Endpoint::from_shared(url.to_owned())?.connect().await?)
}

async fn run(arguments: &[&str]) -> Result<(), Failure> {
    let seconds = |text: &str| text.parse().map(Duration::from_secs);
    let report = match *arguments {
        ["hello"] => return unary::serve().await,
        ["bare", url, time] => unary::bare(url, seconds(time)?).await?,
        ["unary", url, token, time] => unary::vehicles(&Console::new(url, token), seconds(time)?).await?,
        ["list", url, token, pages] => list::measure(&Console::new(url, token), pages.parse()?).await?,
        ["watch", url, token, time, watchers, pid, ref count @ ..] => {
            let count = count.first().map(|count| count.parse()).transpose()?;
            let load = watch::Load { watchers: watchers.parse()?, each: count, pid: pid.parse()? };
            watch::measure(&Console::new(url, token), seconds(time)?, load).await?
        }
        ["rest", url, token, time, rate] => {
            rest::measure(&Console::new(url, token), seconds(time)?, rate.parse()?).await?
        }
        ["commands", url, token, time] => {
            commands::measure(&Console::new(url, token), seconds(time)?).await?
        }
        _ => return Err("what to measure? see the head of this example".into()),
    };
    println!("{report}");
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
