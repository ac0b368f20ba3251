//! On a cluster whose pods run. Where the machine cannot have one, each test says so, loudly.

mod ci;
mod guest;
mod operator_process;
mod stage;

mod leftovers;
mod life;
mod pods;
mod rights;
