//! A vehicle that obeys: enrolled by its own door, with an actuator that writes down what it is told.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use remuda_e2e::Process;
use serde_json::Value;

use crate::proxy::Proxy;
use crate::scene::{PATIENCE, Scene, Trouble, broken};

const NAME: &str = "VAN1";
/// It takes its time, so that a command is under way while a backup is taken.
const ACTUATOR: &str = "#!/bin/sh\necho \"$1 $(cat)\" >> \"$(dirname \"$0\")/obeyed.log\"\nsleep 0.5\n";
/// States of a command that has not ended.
const OPEN: [&str; 3] = ["queued", "sent", "accepted"];

/// It, and the way to the door that stays when the door moves.
pub(crate) struct Obedient {
    /// Its folder.
    pub folder: PathBuf,
    /// Where its agent connects.
    pub proxy: Proxy,
    /// Its agent.
    pub process: Option<Process>,
    /// Commands sent so far; each is a speed limit of its own.
    sent: u32,
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Trouble {
    move |error| broken(format!("{what}: {error}"))
}

impl Scene<'_> {
    /// Asks the node as people do.
    fn ctl(&self, args: &[&str]) -> Result<Value, Trouble> {
        let Some(cloud) = &self.cloud else { return Err(broken("there is no cloud to ask")) };
        let server = format!("http://{}", cloud.console);
        let env = [("REMUDA_SERVER", server.as_str()), ("REMUDA_TOKEN", cloud.token.as_str())];
        let said = self.run_program("remudactl", &[args, &["--output", "json"][..]].concat(), &env)?;
        serde_json::from_str(&said).map_err(|e| broken(format!("{args:?} answered {said}: {e}")))
    }

    /// Enrols the vehicle and starts its agent, once.
    pub fn enrol_obedient(&mut self) -> Result<(), Trouble> {
        let (None, Some(cloud)) = (&self.obedient, &self.cloud) else { return Ok(()) };
        let proxy =
            Proxy::start(self.plan.seed).map_err(io("the obedient vehicle's proxy does not start"))?;
        proxy.lead_to(Some(&cloud.tls_door));
        let created = self.ctl(&["vehicles", "create", NAME])?;
        let token = created["enrolmentToken"].as_str().unwrap_or_default();
        let folder = self.folder.join(NAME);
        let dir = folder.to_string_lossy().into_owned();
        let args = ["enroll", "--server", &cloud.enrolment, "--token", token, "--dir", &dir];
        self.run_program("remuda-agent", &args, &[])?;
        let (actuator, config) = (folder.join("actuator.sh"), folder.join("agent.toml"));
        fs::write(&actuator, ACTUATOR).map_err(io("the actuator cannot be written"))?;
        fs::set_permissions(&actuator, fs::Permissions::from_mode(0o700))
            .map_err(io("the actuator cannot be made a program"))?;
        let settings = fs::read_to_string(&config).map_err(io("the agent's settings cannot be read"))?;
        let settings = settings.replace("source = \"stdin\"", "source = \"none\"");
        fs::write(&config, settings + "actuator = \"actuator.sh\"\n")
            .map_err(io("the agent's settings cannot be written"))?;
        let (config, door) = (config.to_string_lossy().into_owned(), proxy.address());
        let agent = self.program("remuda-agent");
        let env = [("REMUDA_AGENT__DOOR", door.as_str())];
        let process = Process::start_program(&agent, &["run", "--config", &config], &env, &self.logs());
        self.obedient = Some(Obedient { folder, proxy, process: Some(process), sent: 0 });
        // The cloud knows it from its first words on.
        let known = self.wait(PATIENCE, || Ok(self.ctl(&["vehicles", "get", NAME]).ok()))?;
        known.ok_or_else(|| broken("a vehicle that enrolled never came"))?;
        self.obey()
    }

    /// Sends it a command; answers the command's name.
    pub fn send_command(&mut self) -> Result<String, Trouble> {
        let Some(obedient) = &mut self.obedient else { return Err(broken("no vehicle obeys")) };
        obedient.sent += 1;
        let limit = (30 + obedient.sent).to_string();
        let args = ["commands", "send", NAME, "speed-limit", &limit, "--reason", "a round", "--ttl", "5m"];
        let sent = self.ctl(&args)?;
        Ok(sent["name"].as_str().unwrap_or_default().to_owned())
    }

    /// Sends it a command that it must obey.
    pub fn obey(&mut self) -> Result<(), Trouble> {
        let name = self.send_command()?;
        let ended = self.wait(PATIENCE, || {
            let command = self.ctl(&["commands", "get", &name])?;
            let open = command["state"].as_str().is_some_and(|state| OPEN.contains(&state));
            Ok((!open).then_some(command))
        })?;
        match ended {
            Some(command) if command["state"] == "done" => Ok(()),
            other => Err(broken(format!("a vehicle does not do what it is told: {other:?}"))),
        }
    }

    /// It obeyed no command twice.
    pub fn check_obeyed(&self) -> Result<(), Trouble> {
        let Some(obedient) = &self.obedient else { return Ok(()) };
        let log = fs::read_to_string(obedient.folder.join("obeyed.log"))
            .map_err(io("what the vehicle obeyed cannot be read"))?;
        let mut seen = BTreeSet::new();
        match log.lines().find(|line| !seen.insert(*line)) {
            Some(line) => Err(broken(format!("a vehicle obeyed a command twice: {line}\n{log}"))),
            None => Ok(()),
        }
    }
}
