//! The loop of the stand-in: watches, and looks at what is due. Every decision is the pure modules' beside it;
//! the modules below write.

mod agents;
mod drains;
mod events;
mod kubelet_configs;
mod nodes;
mod renders;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use rand::RngExt;
use realtime_core::merge;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use realtime_core::pools::{Membership, membership};
use tokio::sync::watch;
use tokio::time::Instant;

use super::queue::{Key, Queue};
use super::render::{self, Outcome};
use super::world::World;
use super::{Options, RenderDelay, agent, names, node};

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

    /// Takes in our own write: nothing but the render depends on it. Somebody may have deleted it meanwhile, and what the
    /// watch says of that is then no news any more.
    fn kubelet_config_written(&mut self, config: KubeletConfig) {
        if config.metadata.deletion_timestamp.is_some() {
            self.add(Key::KubeletConfig(config.name_any()), PROMPT);
        }
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
