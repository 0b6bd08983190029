//! Real-time budget and policy of pods: the loop that hears of containers (OCI hook, NRI, inotify, API watch) and brings
//! each what it asks for by one function and one writer. What is to be done, `core::rt` decides.

pub mod door;
pub mod install;
pub mod look;
pub mod socket;
