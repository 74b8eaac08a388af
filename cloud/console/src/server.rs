//! One port for everything people and their tools use.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::middleware::from_fn_with_state;
use remuda_api::alerts::v1::alert_service_server::AlertServiceServer;
use remuda_api::assistance::v1::assistance_service_server::AssistanceServiceServer;
use remuda_api::audit::v1::audit_service_server::AuditServiceServer;
use remuda_api::commands::v1::approval_service_server::ApprovalServiceServer;
use remuda_api::commands::v1::command_group_service_server::CommandGroupServiceServer;
use remuda_api::commands::v1::command_service_server::CommandServiceServer;
use remuda_api::feeds::v1::feed_service_server::FeedServiceServer;
use remuda_api::geofences::v1::geofence_service_server::GeofenceServiceServer;
use remuda_api::identity::v1::identity_service_server::IdentityServiceServer;
use remuda_api::policies::v1::policy_service_server::PolicyServiceServer;
use remuda_api::system::v1::system_service_server::SystemServiceServer;
use remuda_api::telemetry::v1::telemetry_service_server::TelemetryServiceServer;
use remuda_api::vehicles::v1::vehicle_service_server::VehicleServiceServer;
use remuda_api::{DESCRIPTORS, MESSAGE_BYTES_MAX};
use remuda_audit::AuditLog;
use remuda_contracts::alerts::AlertDesk;
use remuda_contracts::assistance::AssistanceDesk;
use remuda_contracts::business::BusinessDesk;
use remuda_contracts::commands::CommandDesk;
use remuda_contracts::fleet::FleetView;
use remuda_contracts::geofences::GeofenceBook;
use remuda_contracts::history::HistoryBook;
use remuda_contracts::operations::OperationsDesk;
use remuda_contracts::policies::PolicyBook;
use remuda_feeds::Feeds;
use remuda_model::OrganizationId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::Layer;

use crate::alerts::Alerts;
use crate::approvals::Approvals;
use crate::around::Around;
use crate::assistance::Assistance;
use crate::audit::Auditing;
use crate::audits::Audits;
use crate::business::Business;
use crate::commands::Commands;
use crate::connection::{bounded, secured};
use crate::feeds::FeedDesk;
use crate::front::{self, Front};
use crate::gate::{Access, Gate, limiter};
use crate::geofences::Geofences;
use crate::groups::Groups;
use crate::history::History;
use crate::identities::{Identities, IdentityDesk};
use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::mirror::Mirror;
use crate::pages::{About, MetricsText, Pages, Readiness, Roads, router};
use crate::policies::Policies;
use crate::rest::Rest;
use crate::scope::Scope;
use crate::seats::Seats;
use crate::service::Vehicles;
use crate::sight::Homes;
use crate::system::{ProcessSource, Systems};
use crate::tls::ConsoleTls;
use crate::token::Token;
use crate::watch::stopped;

/// How the console is reached, and by whom.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The secret of the node's own administrator.
    pub token: Token,
    /// The organization that is served.
    pub organization: OrganizationId,
    /// Who else may call, and how often.
    pub access: Access,
}

/// What the console shows.
pub struct ConsoleSources {
    /// The fleet.
    pub view: Arc<dyn FleetView>,
    /// What vehicles are to collect.
    pub policies: Arc<dyn PolicyBook>,
    /// Alerts on vehicles.
    pub alerts: Arc<dyn AlertDesk>,
    /// Commands to vehicles.
    pub commands: Arc<dyn CommandDesk>,
    /// Group commands and second persons; without it one person commands one vehicle at a time, whatever it is.
    pub operations: Option<Arc<dyn OperationsDesk>>,
    /// What vehicles ask people.
    pub assistance: Option<Arc<dyn AssistanceDesk>>,
    /// What vehicles measured.
    pub history: Arc<dyn HistoryBook>,
    /// The ride business, where there is one.
    pub business: Option<Arc<dyn BusinessDesk>>,
    /// Geofences.
    pub geofences: Arc<dyn GeofenceBook>,
    /// What is told to customers' systems.
    pub feeds: Option<Feeds>,
    /// Where every change is written down.
    pub audit: Arc<AuditLog>,
    /// Where vehicles are registered.
    pub identities: Identities,
    /// The roads, as GeoJSON: lines with a `class`; the collection's `bbox` and `attribution` are shown.
    pub roads: Roads,
    /// The text of `/metrics`.
    pub metrics_text: MetricsText,
    /// Whether the node is ready.
    pub ready: Readiness,
    /// What its process uses.
    pub process: ProcessSource,
    /// The console's own metrics, registered by the caller.
    pub metrics: ConsoleMetrics,
}

/// Why the console did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The port is taken, or may not be used.
    #[error(
        "the console cannot listen on {addr}: {source}; choose another address (`console.listen` in the configuration, or `--console ADDR`)"
    )]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The descriptors cannot be served.
    #[error("reflection cannot be offered")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The API's routes are not a table.
    #[error("REST cannot be offered")]
    Rest(#[source] remuda_transcoder::TableError),
    /// The server ended with an error.
    #[error("the console's server failed")]
    Serve(#[source] tonic::transport::Error),
}

/// A console that serves. Dropping it ends it at once; [`Console::stop`] lets calls end first.
#[derive(Debug)]
pub struct Console {
    address: String,
    local_addr: SocketAddr,
    token: Token,
    stop: watch::Sender<bool>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    helpers: Vec<JoinHandle<()>>,
}

impl Console {
    /// Listens and serves without TLS, on tasks of the current runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(settings: ConsoleSettings, sources: ConsoleSources) -> Result<Self, ConsoleError> {
        Self::open(settings, None, sources).await
    }

    /// Listens and serves over TLS, on tasks of the current runtime. Its files are followed.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn secured(
        settings: ConsoleSettings,
        tls: Arc<ConsoleTls>,
        sources: ConsoleSources,
    ) -> Result<Self, ConsoleError> {
        Self::open(settings, Some(tls), sources).await
    }

    async fn open(
        settings: ConsoleSettings,
        tls: Option<Arc<ConsoleTls>>,
        sources: ConsoleSources,
    ) -> Result<Self, ConsoleError> {
        let failed = |source| ConsoleError::Listen { addr: settings.addr, source };
        let listener = TcpListener::bind(settings.addr).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let (stop, stopping) = watch::channel(false);

        let (mirror, changes) = Mirror::new(Arc::clone(&sources.view), settings.organization, instance());
        let mirror = Arc::new(mirror);
        let following = Arc::clone(&mirror);
        let follow = tokio::spawn(async move { following.follow(changes).await });

        let scope = Scope { organization: settings.organization, metrics: sources.metrics.clone() };
        let history = TelemetryServiceServer::new(History {
            book: sources.history,
            view: Arc::clone(&sources.view),
            scope: scope.clone(),
            stopping: stopping.clone(),
        })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let system = SystemServiceServer::new(Systems {
            scope: scope.clone(),
            mirror: Arc::clone(&mirror),
            ready: Arc::clone(&sources.ready),
            process: sources.process,
            feeds: sources.feeds.clone(),
            business: sources.business.clone(),
        });

        let vehicles = VehicleServiceServer::new(Vehicles {
            view: Arc::clone(&sources.view),
            mirror,
            scope: scope.clone(),
            watchers: Seats::new(),
            stopping: stopping.clone(),
        })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let commands = CommandServiceServer::new(Commands {
            desk: sources.commands,
            operations: sources.operations.clone(),
            view: Arc::clone(&sources.view),
            scope: scope.clone(),
            watchers: Seats::new(),
            stopping: stopping.clone(),
        })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let alerts = AlertServiceServer::new(Alerts {
            desk: sources.alerts,
            scope: scope.clone(),
            watchers: Seats::new(),
            stopping: stopping.clone(),
        })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let groups = sources.operations.map(|desk| {
            let approvals = Approvals { desk: Arc::clone(&desk), scope: scope.clone() };
            let groups = Groups {
                desk,
                view: sources.view,
                scope: scope.clone(),
                watchers: Seats::new(),
                stopping: stopping.clone(),
            };
            (CommandGroupServiceServer::new(groups), ApprovalServiceServer::new(approvals))
        });

        let assistance = sources.assistance.map(|desk| {
            AssistanceServiceServer::new(Assistance {
                desk,
                scope: scope.clone(),
                watchers: Seats::new(),
                stopping: stopping.clone(),
            })
        });

        let feeds = sources.feeds.map(|feeds| {
            FeedServiceServer::new(FeedDesk { feeds, scope: scope.clone(), stopping: stopping.clone() })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        });

        let policies = PolicyServiceServer::new(Policies { book: sources.policies, scope: scope.clone() })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let geofences =
            GeofenceServiceServer::new(Geofences { book: sources.geofences, scope: scope.clone() })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let identities =
            IdentityServiceServer::new(IdentityDesk { identities: sources.identities, scope: scope.clone() })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let audits =
            AuditServiceServer::new(Audits { log: Arc::clone(&sources.audit), scope: scope.clone() })
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX);

        let homes = Arc::new(Homes::new(sources.business.clone(), settings.organization));
        let business = sources.business.map(|desk| Business::new(desk, scope.clone(), stopping.clone()));

        let (reporter, health) = tonic_health::server::health_reporter();
        let ready = Arc::clone(&sources.ready);
        let report = tokio::spawn(report_health(reporter, ready, stopping.clone()));

        let pages = Pages {
            roads: sources.roads,
            metrics: sources.metrics_text,
            ready: sources.ready,
            about: Arc::new(About {
                organization: settings.organization.to_string(),
                version: env!("CARGO_PKG_VERSION"),
            }),
        };
        let reflection = |builder: tonic_reflection::server::Builder<'static>| {
            builder
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // Older tools ask v1alpha only.
        let v1 = reflection(tonic_reflection::server::Builder::configure()).build_v1();
        let v1alpha = reflection(tonic_reflection::server::Builder::configure()).build_v1alpha();
        let denials = Arc::default();
        let around = Around {
            auditing: Arc::new(Auditing {
                log: Arc::clone(&sources.audit),
                denials: Arc::clone(&denials),
                metrics: sources.metrics.clone(),
            }),
        };
        let routes = Routes::from(router(pages))
            .add_service(around.layer(vehicles))
            .add_service(around.layer(history))
            .add_service(around.layer(commands))
            .add_service(around.layer(alerts))
            .add_service(around.layer(policies))
            .add_service(around.layer(geofences))
            .add_service(around.layer(identities))
            .add_service(around.layer(audits))
            .add_service(around.layer(system))
            .add_service(health)
            .add_service(v1.map_err(ConsoleError::Reflection)?)
            .add_service(v1alpha.map_err(ConsoleError::Reflection)?);
        let routes = match groups {
            Some((groups, approvals)) => {
                routes.add_service(around.layer(groups)).add_service(around.layer(approvals))
            }
            None => routes,
        };
        let routes = match business {
            Some(business) => business.offer(routes, &around),
            None => routes,
        };
        let routes = match assistance {
            Some(assistance) => routes.add_service(around.layer(assistance)),
            None => routes,
        };
        let routes = match feeds {
            Some(feeds) => routes.add_service(around.layer(feeds)),
            None => routes,
        };
        let (turned_away, failed_handshakes) = (sources.metrics.clone(), sources.metrics.clone());
        let gate = Gate {
            token: settings.token.clone(),
            access: settings.access,
            organization: settings.organization,
            audit: Arc::clone(&sources.audit),
            metrics: sources.metrics,
            strangers: Arc::new(limiter(limits::STRANGER_CALLS)),
            followers: Arc::new(limiter(limits::FOLLOWER_CALLS)),
            homes,
            denials,
        };
        let (routes, gate) = (routes.into_axum_router(), Arc::new(gate));
        let guarded = routes.clone().layer(from_fn_with_state(Arc::clone(&gate), front::behind_gate));
        let rest = Rest::new(settings.organization, guarded).map_err(ConsoleError::Rest)?;
        let all = routes.layer(from_fn_with_state(Arc::new(Front { gate, rest }), front::pass));

        // tonic's server, and not axum's, which ignores deadlines.
        let (keepalive, patience) = limits::HTTP2_KEEPALIVE;
        let mut stops = stopping;
        let server = Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(keepalive))
            .http2_keepalive_timeout(Some(patience))
            .http2_max_header_list_size(limits::HEADER_BYTES_MAX)
            .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
            .add_routes(Routes::from(all));
        let incoming = bounded(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            limits::CONNECTIONS_MAX,
            limits::CONNECTIONS_PER_ADDRESS_MAX,
            move || turned_away.rejected("connections_exhausted"),
        );
        let ended = async move { stopped(&mut stops).await };
        let mut helpers = vec![follow, report];
        let address = address_of(local_addr, tls.as_deref());
        let server = match tls {
            None => tokio::spawn(server.serve_with_incoming_shutdown(incoming, ended)),
            Some(tls) => {
                helpers.push(tls.follow());
                let incoming = secured(incoming, tls, move |reason| failed_handshakes.rejected(reason));
                tokio::spawn(server.serve_with_incoming_shutdown(incoming, ended))
            }
        };
        tracing::info!(addr = %local_addr, address, "console serves");
        Ok(Self { address, local_addr, token: settings.token, stop, server, helpers })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address to open in a browser. Carries the token, in the part that browsers do not send.
    pub fn url(&self) -> String {
        format!("{}/#token={}", self.address, self.token.reveal())
    }

    /// Scheme, host and port; with TLS the host is one that the certificate is for.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends streams, lets calls end (5 s at most), and frees the port.
    ///
    /// # Errors
    /// When the server had failed.
    pub async fn stop(mut self) -> Result<(), ConsoleError> {
        self.stop.send_replace(true);
        match tokio::time::timeout(limits::STOP_PATIENCE, &mut self.server).await {
            Ok(Ok(result)) => result.map_err(ConsoleError::Serve),
            // Aborted by nobody but the drop below, and a panic was already reported.
            Ok(Err(_)) => Ok(()),
            Err(_) => {
                tracing::info!("some of the console's connections did not end in time and were cut");
                Ok(())
            }
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.server.abort();
        for helper in &self.helpers {
            helper.abort();
        }
    }
}

/// Scheme, host and port, by which it can be reached.
fn address_of(at: SocketAddr, tls: Option<&ConsoleTls>) -> String {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let host = match tls.and_then(|tls| tls.host(at.ip())) {
        Some(host) => host,
        // Listening on every address is not an address.
        None if at.ip().is_unspecified() => "localhost".to_owned(),
        None => at.ip().to_string(),
    };
    match host.parse() {
        Ok(IpAddr::V6(host)) => format!("{scheme}://[{host}]:{}", at.port()),
        _ => format!("{scheme}://{host}:{}", at.port()),
    }
}

/// Tells this run's resume tokens from those of the run before.
fn instance() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64) ^ (u64::from(std::process::id()) << 48)
}

async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    ready: Readiness,
    mut stopping: watch::Receiver<bool>,
) {
    use tonic_health::ServingStatus;
    const SERVICES: [&str; 24] = [
        "",
        "remuda.alerts.v1.AlertService",
        "remuda.analytics.v1.AnalyticsService",
        "remuda.assistance.v1.AssistanceService",
        "remuda.audit.v1.AuditService",
        "remuda.billing.v1.BillingService",
        "remuda.commands.v1.ApprovalService",
        "remuda.commands.v1.CommandGroupService",
        "remuda.commands.v1.CommandService",
        "remuda.diagnostics.v1.DiagnosticsService",
        "remuda.feeds.v1.FeedService",
        "remuda.geofences.v1.GeofenceService",
        "remuda.identity.v1.IdentityService",
        "remuda.notifications.v1.NotificationService",
        "remuda.policies.v1.PolicyService",
        "remuda.reactors.v1.ReactorService",
        "remuda.registry.v1.RegistryService",
        "remuda.sagas.v1.SagaService",
        "remuda.system.v1.SystemService",
        "remuda.telemetry.v1.TelemetryService",
        "remuda.trips.v1.FeedbackService",
        "remuda.trips.v1.TripService",
        "remuda.users.v1.UserService",
        "remuda.vehicles.v1.VehicleService",
    ];
    let mut shown = None;
    loop {
        let stops = *stopping.borrow();
        let status =
            if !stops && ready().is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing };
        if shown != Some(status) {
            for service in SERVICES {
                reporter.set_service_status(service, status).await;
            }
            shown = Some(status);
        }
        if stops {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(limits::HEALTH_INTERVAL) => {}
            () = stopped(&mut stopping) => {}
        }
    }
}
