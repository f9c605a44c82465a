//! Tests the command line, the settings, and the commands and settings that messages and documents name.

mod audit;
mod commands;
mod doctor;
mod keys;
mod lists;
mod manual;
mod migrate;
mod settings;
mod suggestions;
mod user_import;
