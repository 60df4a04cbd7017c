"""CertificateSigningRequests: approved, signed and tidied up."""
