//! The marks on each object that we make: whose it is, and the hash of what was rendered.

use kube::ResourceExt;
use kube::core::Resource;
use serde::Serialize;

use super::{hash, value};
use crate::names;

/// Marks an object. Its hash is over what was rendered, owner included and the hash itself not.
pub(super) fn mark<T: Resource + Serialize>(object: Option<&mut T>, profile: &str) {
    let Some(object) = object else { return };
    object
        .labels_mut()
        .insert(names::LABEL_PROFILE.to_owned(), profile.to_owned());
    let Some(content) = value(Some(&*object)) else {
        return;
    };
    object.annotations_mut().insert(
        names::ANNOTATION_CONTENT_HASH.to_owned(),
        hash::hash(&content),
    );
}
