//! A console over a fleet that does not exist: for work on the web app, and for its browser test.
//!
//! `cargo run -p remuda-console --example fake_fleet -- [VEHICLES] [ADDR] [ROADS.geojson, or -] [STEP_MS]`; prints the console's URL
//! and serves until its standard input ends. Beside the token in the URL, that token with `-1` to `-9` behind it opens it too, each
//! an operator of its own: for measurements with more than one caller may have.

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use remuda_access::{Account, AccountError, Accounts, Grant, Part, Role, Secret};
use remuda_console::{Access, Console, ConsoleSettings, Token};
use remuda_model::OrganizationId;
use support::FakeFleet;
use tokio::io::AsyncReadExt;

fn callers(token: &Token) -> Result<Accounts, AccountError> {
    let account = |n| Account {
        name: format!("caller-{n}"),
        secret: Secret::of(&format!("{}-{n}", token.reveal())),
        grants: vec![Grant {
            role: Role::Operator,
            organization: OrganizationId::default(),
            part: Part::Whole,
        }],
    };
    Accounts::new((1..=9).map(account).collect())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let vehicles: usize = arguments.next().as_deref().unwrap_or("2000").parse()?;
    let addr: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let fleet = Arc::new(FakeFleet::new(vehicles));
    let token = Token::random()?;
    let access = Access { accounts: Arc::new(callers(&token)?), ..Access::default() };
    let settings = ConsoleSettings { addr, token, organization: OrganizationId::default(), access };
    let mut sources = support::sources(&fleet);
    if let Some(path) = arguments.next().filter(|path| path != "-") {
        let roads = bytes::Bytes::from(std::fs::read(path)?);
        sources.roads = Arc::new(move || Some(roads.clone()));
    }
    let step = Duration::from_millis(arguments.next().as_deref().unwrap_or("500").parse()?);
    let console = Console::bind(settings, sources).await?;
    let moving = tokio::spawn(Arc::clone(&fleet).drive(step));
    println!("{}", console.url());
    // Whoever started us closes our standard input when done, or simply dies.
    let (mut input, mut rest) = (tokio::io::stdin(), Vec::new());
    tokio::select! {
        _ = input.read_to_end(&mut rest) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    moving.abort();
    console.stop().await?;
    Ok(())
}
