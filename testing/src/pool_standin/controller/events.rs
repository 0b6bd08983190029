//! Tells what happens as Events.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};
use realtime_core::openshift::MachineConfigPool;

use super::{Controller, MANAGER};

impl Controller {
    /// An event about a pool. One that gets lost is no failure.
    pub(super) async fn tell(&self, pool: &MachineConfigPool, reason: &str, message: String) {
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
