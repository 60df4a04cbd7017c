"""What a process says of itself over HTTPS: probes, version, figures."""
