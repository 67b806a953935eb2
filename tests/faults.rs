//! What else goes wrong around a processor. Nothing is lost, in part, or doubled.

mod broker;
mod group;
mod log;
mod upstream;
mod wire;
