//! Writes what `render` decides: rendered MachineConfigs, and pools' targets and statuses.

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use realtime_core::openshift::MachineConfigPool;
use serde_json::json;

use super::super::queue::Key;
use super::super::render::{self, Outcome};
use super::super::{names, node};
use super::{Controller, RENDER_TIME, now, parameters};

impl Controller {
    pub(super) fn decide_render(&mut self, name: &str) {
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

    pub(super) async fn write_render(&mut self, name: &str) -> kube::Result<()> {
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
    pub(super) fn pool_written(&mut self, pool: &MachineConfigPool) {
        self.world.pools.apply(pool.clone());
        self.pool_changed(pool);
    }

    pub(super) async fn write_status(
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
}
