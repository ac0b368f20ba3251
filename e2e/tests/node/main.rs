//! On a cluster whose pods run. Where the machine cannot have one, each test says so, loudly.

mod guest;

mod leftovers;
mod pods;
