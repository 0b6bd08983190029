//! Writes what `kubelet_config` decides: conditions, finalizers, and the MachineConfigs that KubeletConfigs become.

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use realtime_core::merge;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use serde_json::{Value, json};

use super::super::{install, kubelet_config, names};
use super::{Controller, gone, now, parameters};

impl Controller {
    pub(super) async fn sync_kubelet_config(&mut self, name: &str) -> kube::Result<()> {
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

    pub(super) async fn patch_kubelet_config(
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
    pub(super) async fn finish_kubelet_config(
        &mut self,
        config: &KubeletConfig,
    ) -> kube::Result<()> {
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

    pub(super) async fn write_config(&mut self, config: &MachineConfig) -> kube::Result<()> {
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
