//! The loop of the stand-in: watches, decides by the pure modules, writes. Every decision is theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Event, EventSource, Node, ObjectReference, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{
    Api, DeleteParams, EvictParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use rand::RngExt;
use realtime_core::merge;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use realtime_core::pools::{self, Membership, membership};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::names;
use super::queue::{Key, Queue};
use super::render::{self, Outcome};
use super::world::World;
use super::{Options, RenderDelay, agent, install, kubelet_config, node};

/// Who writes, in managedFields.
const MANAGER: &str = "machine-config-controller-stand-in";

/// How soon a KubeletConfig is looked at: as recorded, about a tenth of a second.
const PROMPT: Duration = Duration::from_millis(100);
/// How soon a node's agent acts: as recorded, between one and two tenths.
const AGENT: Duration = Duration::from_millis(150);
/// From the moment at which a render reads its sources to the one at which it writes: as recorded, four to
/// nine hundredths. What comes in between isn't in the render.
const RENDER_TIME: Duration = Duration::from_millis(80);
/// Before something that failed is tried again; never less than the smallest pause.
const RETRY: Duration = Duration::from_secs(1);
const SMALLEST_PAUSE: Duration = Duration::from_millis(100);

#[allow(
    clippy::large_enum_variant,
    reason = "made and taken apart at once, never kept"
)]
enum Seen {
    Pool(watcher::Event<MachineConfigPool>),
    Config(watcher::Event<MachineConfig>),
    KubeletConfig(watcher::Event<KubeletConfig>),
    Node(watcher::Event<Node>),
}

pub(super) struct Controller {
    client: Client,
    options: Options,
    world: World,
    queue: Queue,
    /// Names to prefer among equal nodes, one for each time that a node is chosen.
    picks: watch::Receiver<Vec<String>>,
    picked: usize,
    /// Renders that are decided and not yet written, by pool.
    decided: BTreeMap<String, Outcome>,
}

impl Controller {
    pub(super) fn new(
        client: Client,
        options: Options,
        picks: watch::Receiver<Vec<String>>,
    ) -> Self {
        Self {
            client,
            options,
            world: World::default(),
            queue: Queue::default(),
            picks,
            picked: 0,
            decided: BTreeMap::new(),
        }
    }

    /// Runs until its task is aborted.
    pub(super) async fn run(mut self) {
        let client = self.client.clone();
        let watched = |seen| seen;
        let mut events = futures::stream::select_all([
            watch_all(Api::<MachineConfigPool>::all(client.clone()), Seen::Pool)
                .map(watched)
                .boxed(),
            watch_all(Api::<MachineConfig>::all(client.clone()), Seen::Config).boxed(),
            watch_all(
                Api::<KubeletConfig>::all(client.clone()),
                Seen::KubeletConfig,
            )
            .boxed(),
            watch_all(Api::<Node>::all(client), Seen::Node).boxed(),
        ]);
        loop {
            let due = self.queue.next().filter(|_| self.world.is_complete());
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(Ok(seen)) => self.take_in(seen),
                    Some(Err(error)) => tracing::debug!(%error, "the watch is tried again"),
                    None => return,
                },
                () = wait => {
                    if let Some(key) = self.queue.pop(Instant::now()) {
                        self.look_at(key).await;
                    }
                }
            }
        }
    }

    fn scaled(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.options.time_scale)
    }

    fn add(&mut self, key: Key, delay: Duration) {
        let at = Instant::now() + self.scaled(delay);
        self.queue.add(key, at);
    }

    fn add_render(&mut self, pool: &str) {
        let key = Key::Render(pool.to_owned());
        let delay = match self.options.render_delay {
            RenderDelay::AsObserved => self.options.step,
            RenderDelay::Random if self.queue.contains(&key) => return,
            RenderDelay::Random => self.options.step.mul_f64(rand::rng().random::<f64>()),
            RenderDelay::Fixed(delay) => delay,
        };
        self.add(key, delay);
    }

    fn add_nodes(&mut self, pool: &str) {
        self.add(Key::Nodes(pool.to_owned()), self.options.step);
    }

    /// Takes an event in and makes everything due that it can change.
    fn take_in(&mut self, seen: Seen) {
        match seen {
            Seen::Pool(event) => {
                for pool in self.world.pools.event(event) {
                    self.pool_changed(&pool);
                }
            }
            Seen::Config(event) => {
                for config in self.world.configs.event(event) {
                    self.config_changed(&config);
                }
            }
            Seen::KubeletConfig(event) => {
                for config in self.world.kubelet_configs.event(event) {
                    self.kubelet_config_changed(&config);
                }
            }
            Seen::Node(event) => {
                for node in self.world.nodes.event(event) {
                    self.node_changed(&node);
                }
            }
        }
    }

    fn pool_changed(&mut self, pool: &MachineConfigPool) {
        let name = pool.name_any();
        self.add_render(&name);
        self.add_nodes(&name);
        for config in self.world.kubelet_configs.list() {
            if render::selects(&config, pool) && config.status.is_none() {
                self.add(Key::KubeletConfig(config.name_any()), PROMPT);
            }
        }
        // A node that has no configuration yet waits for its pool's.
        for node in self.world.nodes.list() {
            if !node.annotations().contains_key(names::CURRENT) {
                self.add(Key::Agent(node.name_any()), AGENT);
            }
        }
    }

    fn config_changed(&mut self, config: &MachineConfig) {
        for pool in self.world.pools.list() {
            if !merge::sources(&pool, std::slice::from_ref(config)).is_empty() {
                self.add_render(&pool.name_any());
            }
        }
    }

    fn kubelet_config_changed(&mut self, config: &KubeletConfig) {
        self.add(Key::KubeletConfig(config.name_any()), PROMPT);
        self.add_renders_of(config);
    }

    /// Takes in our own write: nothing but the render depends on it.
    fn kubelet_config_written(&mut self, config: KubeletConfig) {
        self.add_renders_of(&config);
        self.world.kubelet_configs.apply(config);
    }

    fn add_renders_of(&mut self, config: &KubeletConfig) {
        for pool in self.world.pools.list() {
            if render::selects(config, &pool) {
                self.add_render(&pool.name_any());
            }
        }
    }

    fn node_changed(&mut self, node: &Node) {
        let pools = self.world.pools.list();
        if let Membership::One(pool) = membership(node.labels(), &pools) {
            self.add_nodes(&pool.name_any());
        }
        let name = node.name_any();
        if node::drain_wanted(node).is_some() {
            self.add(Key::Drain(name.clone()), self.options.step);
        }
        self.schedule_agent(&name);
    }

    fn schedule_agent(&mut self, name: &str) {
        let Some(node) = self.world.nodes.get(name) else {
            return;
        };
        if let Some(step) = agent::next(node, self.first_config(node).as_deref()) {
            let delay = match step.pace {
                agent::Pace::AtOnce => AGENT,
                agent::Pace::Work => self.options.work,
            };
            self.add(Key::Agent(name.to_owned()), delay);
        }
    }

    /// With what a node joins: the target of the built-in pool that it was installed for.
    fn first_config(&self, node: &Node) -> Option<String> {
        let pool = if node.labels().contains_key("node-role.kubernetes.io/master") {
            "master"
        } else {
            "worker"
        };
        node::target(self.world.pools.get(pool)?).map(str::to_owned)
    }

    async fn look_at(&mut self, key: Key) {
        tracing::trace!(?key, "due");
        let result = match &key {
            Key::KubeletConfig(name) => self.sync_kubelet_config(name).await,
            Key::Render(pool) => {
                self.decide_render(pool);
                Ok(())
            }
            Key::WriteRender(pool) => self.write_render(pool).await,
            Key::Nodes(pool) => self.sync_nodes(pool).await,
            Key::Drain(node) => self.sync_drain(node).await,
            Key::Agent(node) => self.sync_agent(node).await,
        };
        if let Err(error) = result {
            tracing::debug!(?key, %error, "tried again");
            let pause = self.scaled(RETRY).max(SMALLEST_PAUSE);
            self.queue.add(key, Instant::now() + pause);
        }
    }

    async fn sync_kubelet_config(&mut self, name: &str) -> kube::Result<()> {
        let Some(config) = self.world.kubelet_configs.get(name).cloned() else {
            return Ok(());
        };
        if config.metadata.deletion_timestamp.is_some() {
            return self.finish_kubelet_config(&config).await;
        }
        let observed = config
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        let api: Api<KubeletConfig> = Api::all(self.client.clone());
        let configs = self.world.configs.list();
        let base = |pool: &MachineConfigPool| base_conf(pool, &configs);
        let answer = kubelet_config::decide(
            &config,
            &self.world.kubelet_configs.list(),
            &self.world.pools.list(),
            base,
        );
        if let Ok(accepted) = &answer {
            if config.annotations().get(names::NAME_SUFFIX) != Some(&accepted.suffix) {
                let suffix =
                    json!({"metadata": {"annotations": {names::NAME_SUFFIX: accepted.suffix}}});
                self.patch_kubelet_config(&api, &config, &suffix).await?;
            }
            for generated in &accepted.machine_configs {
                self.write_config(generated).await?;
            }
            let mut finalizers: Vec<String> = config.finalizers().to_vec();
            for generated in accepted.machine_configs.iter().map(ResourceExt::name_any) {
                if !finalizers.contains(&generated) {
                    finalizers.push(generated);
                }
            }
            if finalizers != config.finalizers() {
                self.patch_kubelet_config(
                    &api,
                    &config,
                    &json!({"metadata": {"finalizers": finalizers}}),
                )
                .await?;
            }
        }
        let conditions =
            kubelet_config::conditions(answer.as_ref().map(|_| ()).map_err(String::as_str), &now());
        let told = |conditions: &[realtime_core::openshift::OpenShiftCondition]| -> Vec<(String, String, Option<String>)> {
            conditions.iter().map(|c| (c.type_.clone(), c.status.clone(), c.message.clone())).collect()
        };
        let before = config
            .status
            .as_ref()
            .map(|status| told(&status.conditions))
            .unwrap_or_default();
        if observed == config.metadata.generation && before == told(&conditions) {
            return Ok(());
        }
        let status = json!({"status": {"observedGeneration": config.metadata.generation, "conditions": conditions}});
        let written = api
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
            .await?;
        self.kubelet_config_written(written);
        Ok(())
    }

    async fn patch_kubelet_config(
        &mut self,
        api: &Api<KubeletConfig>,
        config: &KubeletConfig,
        patch: &Value,
    ) -> kube::Result<()> {
        let written = api
            .patch(&config.name_any(), &parameters(), &Patch::Merge(patch))
            .await?;
        self.kubelet_config_written(written);
        Ok(())
    }

    /// Removes what the KubeletConfig became, then lets it go.
    async fn finish_kubelet_config(&mut self, config: &KubeletConfig) -> kube::Result<()> {
        let configs: Api<MachineConfig> = Api::all(self.client.clone());
        let generated = |name: &String| name.contains("-generated-kubelet");
        for name in config.finalizers().iter().filter(|name| generated(name)) {
            gone(configs.delete(name, &DeleteParams::default()).await)?;
        }
        let left: Vec<&String> = config
            .finalizers()
            .iter()
            .filter(|name| !generated(name))
            .collect();
        let api: Api<KubeletConfig> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"finalizers": left}});
        gone(
            api.patch(&config.name_any(), &parameters(), &Patch::Merge(&patch))
                .await,
        )
    }

    async fn write_config(&mut self, config: &MachineConfig) -> kube::Result<()> {
        let name = config.name_any();
        if self
            .world
            .configs
            .get(&name)
            .is_some_and(|known| known.spec == config.spec)
        {
            return Ok(());
        }
        let api: Api<MachineConfig> = Api::all(self.client.clone());
        let written = match api.create(&PostParams::default(), config).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let patch = json!({"metadata": {"annotations": config.metadata.annotations}, "spec": config.spec});
                api.patch(&name, &parameters(), &Patch::Merge(&patch))
                    .await?
            }
            created => created?,
        };
        self.world.configs.apply(written.clone());
        self.config_changed(&written);
        Ok(())
    }

    fn decide_render(&mut self, name: &str) {
        let hangs = |pool: &&MachineConfigPool| pool.annotations().contains_key(names::HANG);
        let Some(pool) = self.world.pools.get(name).filter(|pool| !hangs(pool)) else {
            return;
        };
        let outcome = render::render(
            pool,
            &self.world.configs.list(),
            &self.world.kubelet_configs.list(),
        );
        self.decided.insert(name.to_owned(), outcome);
        self.add(Key::WriteRender(name.to_owned()), RENDER_TIME);
    }

    async fn write_render(&mut self, name: &str) -> kube::Result<()> {
        let (Some(outcome), Some(pool)) = (
            self.decided.get(name).cloned(),
            self.world.pools.get(name).cloned(),
        ) else {
            return Ok(());
        };
        match outcome {
            Outcome::Blocked(by) => {
                tracing::debug!(pool = name, %by, "a KubeletConfig that isn't accepted blocks the pool");
            }
            Outcome::Nothing => {}
            Outcome::Refused(text) => {
                let status = node::render_status(&pool, Some(&text), &now());
                self.write_status(&pool, status).await?;
            }
            Outcome::Rendered(rendered) => {
                let target = rendered.config.name_any();
                if self.world.configs.get(&target).is_none() {
                    self.write_config(&rendered.config).await?;
                    let text = format!(
                        "{target} successfully generated (release version: 0.0.1-snapshot, controller version: {})",
                        names::VERSION
                    );
                    self.tell(&pool, "RenderedConfigGenerated", text).await;
                }
                let mut pool = pool;
                if pool.spec.configuration.as_ref() != Some(&rendered.configuration) {
                    let patch = json!({"spec": {"configuration": rendered.configuration}});
                    let api: Api<MachineConfigPool> = Api::all(self.client.clone());
                    pool = api
                        .patch(name, &parameters(), &Patch::Merge(&patch))
                        .await?;
                    self.pool_written(&pool);
                }
                let status = node::render_status(&pool, None, &now());
                self.write_status(&pool, status).await?;
            }
        }
        self.decided.remove(name);
        Ok(())
    }

    /// Takes in our own write at once, so that what follows from it doesn't wait for its event.
    fn pool_written(&mut self, pool: &MachineConfigPool) {
        self.world.pools.apply(pool.clone());
        self.pool_changed(pool);
    }

    async fn write_status(
        &mut self,
        pool: &MachineConfigPool,
        status: realtime_core::openshift::MachineConfigPoolStatus,
    ) -> kube::Result<()> {
        if pool.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api: Api<MachineConfigPool> = Api::all(self.client.clone());
        let patch = json!({"status": status});
        let written = api
            .patch_status(
                &pool.name_any(),
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await?;
        let reached = |pool: &MachineConfigPool| {
            let configuration = pool
                .status
                .as_ref()
                .and_then(|status| status.configuration.as_ref());
            configuration.and_then(|configuration| configuration.name.clone())
        };
        if let Some(now) = reached(&written)
            && reached(pool).as_ref() != Some(&now)
        {
            let text = format!(
                "Pool {} has completed update to MachineConfig {now}",
                pool.name_any()
            );
            self.tell(pool, "Completed", text).await;
        }
        self.pool_written(&written);
        Ok(())
    }

    async fn sync_nodes(&mut self, name: &str) -> kube::Result<()> {
        let Some(pool) = self.world.pools.get(name).cloned() else {
            return Ok(());
        };
        let Some(target) = node::target(&pool).map(str::to_owned) else {
            return Ok(());
        };
        let pools = self.world.pools.list();
        let managed = |node: &&Node| node.annotations().contains_key(names::CURRENT);
        let api: Api<Node> = Api::all(self.client.clone());

        let nodes = self.world.nodes.list();
        let mine: Vec<&Node> = pools::nodes_of(name, &nodes, &pools)
            .into_iter()
            .filter(managed)
            .collect();
        if pool.spec.paused != Some(true) {
            for node in mine
                .iter()
                .filter(|node| !node.annotations().contains_key(names::TOPOLOGY))
            {
                let topology = BTreeMap::from([(names::TOPOLOGY, "HighlyAvailable".to_owned())]);
                self.patch_node(&api, &node.name_any(), &node::annotations_patch(&topology))
                    .await?;
            }
            for (node, wanted) in node::taints(&pool, &mine) {
                self.set_taint(&api, &node, wanted).await?;
            }
            let nodes = self.world.nodes.list();
            let mine: Vec<&Node> = pools::nodes_of(name, &nodes, &pools)
                .into_iter()
                .filter(managed)
                .collect();
            let picks = self.picks.borrow().clone();
            let preferred: Vec<String> = picks
                .get(self.picked..)
                .unwrap_or_default()
                .iter()
                .take(1)
                .cloned()
                .collect();
            let candidates = node::candidates(&pool, &mine, &preferred);
            for node in &candidates {
                let desired = BTreeMap::from([(names::DESIRED, target.clone())]);
                self.patch_node(&api, node, &node::annotations_patch(&desired))
                    .await?;
                self.picked += 1;
            }
            match candidates.as_slice() {
                [] => {}
                [one] => {
                    self.tell(
                        &pool,
                        "SetDesiredConfig",
                        format!("Targeted node {one} to MachineConfig: {target}"),
                    )
                    .await;
                }
                several => {
                    let text = format!(
                        "Set target for {} nodes to MachineConfig: {target}",
                        several.len()
                    );
                    self.tell(&pool, "SetDesiredConfig", text).await;
                }
            }
        }
        let nodes = self.world.nodes.list();
        let mine: Vec<&Node> = pools::nodes_of(name, &nodes, &pools)
            .into_iter()
            .filter(managed)
            .collect();
        let status = node::status(&pool, &mine, self.options.names_degraded_nodes, &now());
        self.write_status(&pool, status).await
    }

    async fn patch_node(&mut self, api: &Api<Node>, name: &str, patch: &Value) -> kube::Result<()> {
        let written = api.patch(name, &parameters(), &Patch::Merge(patch)).await?;
        self.world.nodes.apply(written.clone());
        self.node_changed(&written);
        Ok(())
    }

    async fn set_taint(&mut self, api: &Api<Node>, name: &str, wanted: bool) -> kube::Result<()> {
        let Some(node) = self.world.nodes.get(name) else {
            return Ok(());
        };
        let mut taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        taints.retain(|taint| taint.key != names::IN_PROGRESS_TAINT);
        if wanted {
            taints.push(Taint {
                key: names::IN_PROGRESS_TAINT.to_owned(),
                effect: "PreferNoSchedule".to_owned(),
                ..Taint::default()
            });
        }
        // The list is replaced whole: the version guards against somebody else's taint in between.
        let patch = json!({"metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints}});
        self.patch_node(api, name, &patch).await
    }

    /// Cordons, evicts, uncordons: what a node's agent asked for.
    async fn sync_drain(&mut self, name: &str) -> kube::Result<()> {
        let Some((drain, asked)) = self.world.nodes.get(name).and_then(node::drain_wanted) else {
            return Ok(());
        };
        let api: Api<Node> = Api::all(self.client.clone());
        self.patch_node(&api, name, &json!({"spec": {"unschedulable": drain}}))
            .await?;
        if drain && !self.evicted(name).await? {
            // Pods are still there, or a PodDisruptionBudget holds one: looked at again.
            let pause = self.scaled(self.options.step).max(SMALLEST_PAUSE);
            self.queue
                .add(Key::Drain(name.to_owned()), Instant::now() + pause);
            return Ok(());
        }
        let applied = BTreeMap::from([(names::LAST_APPLIED_DRAIN, asked)]);
        self.patch_node(&api, name, &node::annotations_patch(&applied))
            .await
    }

    /// Asks for the eviction of every pod on the node; whether none is left. DaemonSet and mirror pods stay.
    async fn evicted(&self, node: &str) -> kube::Result<bool> {
        let everywhere: Api<Pod> = Api::all(self.client.clone());
        let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let mut none_left = true;
        for pod in everywhere.list(&on_node).await? {
            let by_daemon_set = pod
                .owner_references()
                .iter()
                .any(|owner| owner.kind == "DaemonSet");
            let mirror = pod
                .annotations()
                .contains_key("kubernetes.io/config.mirror");
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                .unwrap_or_default();
            if by_daemon_set || mirror || ["Succeeded", "Failed"].contains(&phase) {
                continue;
            }
            none_left = false;
            let namespace = pod.namespace().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            if pod.metadata.deletion_timestamp.is_some() {
                // No kubelet here to end the pod: the stand-in plays that part too.
                gone(
                    pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                        .await,
                )?;
                continue;
            }
            match pods.evict(&pod.name_any(), &EvictParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 429 || status.code == 404 => {
                    tracing::debug!(pod = pod.name_any(), reason = status.message, "not evicted");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(none_left)
    }

    /// One step of a node's agent.
    async fn sync_agent(&mut self, name: &str) -> kube::Result<()> {
        let Some(node) = self.world.nodes.get(name).cloned() else {
            return Ok(());
        };
        let Some(step) = agent::next(&node, self.first_config(&node).as_deref()) else {
            return Ok(());
        };
        let api: Api<Node> = Api::all(self.client.clone());
        let mut annotations = step.annotations;
        if let Some(config) = &step.reboots_into {
            let boots: u64 = node
                .annotations()
                .get(names::REBOOTS)
                .and_then(|n| n.parse().ok())
                .unwrap_or_default();
            self.reboot(&api, &node, config, boots + 1).await?;
            annotations.insert(names::REBOOTS, (boots + 1).to_string());
        }
        self.patch_node(&api, name, &node::annotations_patch(&annotations))
            .await
    }

    async fn reboot(
        &mut self,
        api: &Api<Node>,
        node: &Node,
        config: &str,
        boots: u64,
    ) -> kube::Result<()> {
        let name = node.name_any();
        let info = node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref());
        let running = info.map_or("", |info| info.kernel_version.as_str());
        let kernel = match self.world.configs.get(config) {
            Some(config) => agent::kernel_release(running, config),
            None => running.to_owned(),
        };
        let patch = json!({"status": {"nodeInfo": {"bootID": install::boot_id(&name, boots), "kernelVersion": kernel}}});
        match api
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(written) => {
                // What follows from it comes with the annotations that are written next.
                self.world.nodes.apply(written);
                Ok(())
            }
            // A node without nodeInfo has nothing that a reboot could change.
            Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// An event about a pool. One that gets lost is no failure.
    async fn tell(&self, pool: &MachineConfigPool, reason: &str, message: String) {
        let at = k8s_openapi::jiff::Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}.", pool.name_any())),
                namespace: Some("default".to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                namespace: None,
                ..pool.object_ref(&())
            },
            reason: Some(reason.to_owned()),
            message: Some(message),
            type_: Some("Normal".to_owned()),
            count: Some(1),
            source: Some(EventSource {
                component: Some(MANAGER.to_owned()),
                host: None,
            }),
            first_timestamp: Some(Time(at)),
            last_timestamp: Some(Time(at)),
            event_time: Some(MicroTime(at)),
            reporting_component: Some(MANAGER.to_owned()),
            reporting_instance: Some(MANAGER.to_owned()),
            action: Some(reason.to_owned()),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        if let Err(error) = events.create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "an event is lost");
        }
    }
}

fn watch_all<K>(
    api: Api<K>,
    seen: fn(watcher::Event<K>) -> Seen,
) -> impl futures::Stream<Item = Result<Seen, watcher::Error>> + Send
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    K::DynamicType: Default,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .map_ok(seen)
}

/// The pool's kubelet.conf before any KubeletConfig.
fn base_conf(
    pool: &MachineConfigPool,
    configs: &[MachineConfig],
) -> serde_json::Map<String, Value> {
    let sources = merge::sources(pool, configs);
    let base: Vec<&MachineConfig> = sources
        .into_iter()
        .filter(|source| {
            !source
                .owner_references()
                .iter()
                .any(|owner| owner.kind == "KubeletConfig")
        })
        .collect();
    let merged = merge::merge(&base).ok();
    merged
        .and_then(|merged| merge::kubelet::conf_of(&merged.ignition))
        .unwrap_or_else(install::base_kubelet_conf)
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// Somebody else was faster: that is as good.
fn gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

fn now() -> String {
    let now = k8s_openapi::jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
