//! The programs as operators and developers run them.

mod admin;
mod admin_ai;
mod admin_announce;
mod admin_audit;
mod admin_backup;
mod admin_config;
mod admin_devices;
mod admin_doctor;
mod admin_explain;
mod admin_files;
mod admin_jobs;
mod admin_secrets;
mod admin_usage;
mod admin_users;
mod dev;
mod operating;
mod pooler;
mod startup;
