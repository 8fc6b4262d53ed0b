fn main() {
    #[cfg(feature = "tower-bearer")]
    {
        use tower_bearer::{ClientAuth, ClientCredentials, ErrorKind};

        let server = std::env::var("SERVER").unwrap();
        let credentials = ClientCredentials::builder(server, "client", ClientAuth::basic("secret"));
        let error = credentials.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains("install_default"), "{error}");
    }
}
