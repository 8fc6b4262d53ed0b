//! Troubleshooting
