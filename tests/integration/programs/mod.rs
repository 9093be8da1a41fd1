//! The programs as operators and developers run them.

mod admin;
mod admin_audit;
mod admin_devices;
mod admin_files;
mod dev;
mod operating;
mod pooler;
mod startup;
