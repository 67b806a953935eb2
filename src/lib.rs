//! A tail-sampling stream processor.
#![deny(unsafe_code)]

pub mod assemble;
pub mod backtest;
pub mod cases;
pub mod cli;
pub mod config;
pub mod decide;
pub mod decisions;
pub mod decode;
pub mod demo;
pub mod diagnostic;
pub mod encode;
pub mod engine;
pub mod estimate;
pub mod explain;
pub mod forward;
pub mod generate;
pub mod import;
pub mod instance;
pub mod limits;
pub mod model;
mod mutant;
mod names;
pub mod ops;
pub mod pipeline;
pub mod recording;
pub mod rekey;
pub mod sample;
mod secret;
pub mod source;
pub mod stats;
mod table;
pub mod telemetry;
pub mod tick;
mod units;
pub mod worker;
pub mod yaml;
