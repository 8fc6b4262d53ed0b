//! The certificates of the servers over TLS. The key of `localhost` is public, and that of the root is gone.

/// The root certificate, in PEM, that a client must trust to reach a server of [`serve_tls`](super::AuthorizationServer::serve_tls).
///
/// It vouches for `localhost` and 127.0.0.1 alone: its key is gone. The key of its only certificate is in this crate, so trust
/// it in tests only.
pub const ROOT_CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBlzCCAT6gAwIBAgIUaDYWHQE0wpWY4KMc/+GmQkGyXZgwCgYIKoZIzj0EAwIw
MTEvMC0GA1UEAwwmdG93ZXItYmVhcmVyIHRlc3QtdXRpbCwgZm9yIHRlc3RzIG9u
bHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMDExLzAtBgNVBAMM
JnRvd2VyLWJlYXJlciB0ZXN0LXV0aWwsIGZvciB0ZXN0cyBvbmx5MFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAE08D7BAUXi+ylqJxzNkzbDCFnQpRd4Pb99eweeYcL
Cu3PnsPogA4T1DBmvLFxJfWrC+KV+31XLbwcWe1hZnEb6KMyMDAwDwYDVR0TAQH/
BAUwAwEB/zAdBgNVHQ4EFgQUuiaahIuxa+hroRjeorLOU6/cqpMwCgYIKoZIzj0E
AwIDRwAwRAIgX6e4pOlvyDNFL0NSu5Dt3Fvrc4Ecf6n9JHxMupBebu4CIHGjp9Zv
hcBW4U/KYR3s1HRGHt9oe8u7TbBg1f4Fagco
-----END CERTIFICATE-----
";

/// What the servers show, in PEM: made by OpenSSL, good until 2126.
pub(super) const LOCALHOST: &str = "\
-----BEGIN CERTIFICATE-----
MIIBxzCCAW2gAwIBAgIUYQJUBJY3AKnbTRNEKuE7TehvKMEwCgYIKoZIzj0EAwIw
MTEvMC0GA1UEAwwmdG93ZXItYmVhcmVyIHRlc3QtdXRpbCwgZm9yIHRlc3RzIG9u
bHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyNjAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJJhk6ApmmMVRTjQ
i7ifwihorsDWB7uK8M5T6l0T7uS2MJJ8/GBt2QbU0zGG4Y8SBGsD54jiGrWGIVat
He9ChAijfjB8MAkGA1UdEwQCMAAwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAAB
MBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0GA1UdDgQWBBQKToTnl/OzJ18xBEHpFZX2
im2WizAfBgNVHSMEGDAWgBS6JpqEi7Fr6GuhGN6iss5Tr9yqkzAKBggqhkjOPQQD
AgNIADBFAiEA81QZZGTd9ahvmj2nOJIe6hCUeLBfg93shg1+wXwe288CID3m2zLm
uIm97OeRVYHVD3XUozFnSArQmU+7oHWQcvo0
-----END CERTIFICATE-----
";

pub(super) const LOCALHOST_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguAvWpY3bZ7PVEAw6
FUdGbVD1bgILdnOxCyEOfeQNHPihRANCAASSYZOgKZpjFUU40Iu4n8IoaK7A1ge7
ivDOU+pdE+7ktjCSfPxgbdkG1NMxhuGPEgRrA+eI4hq1hiFWrR3vQoQI
-----END PRIVATE KEY-----
";
