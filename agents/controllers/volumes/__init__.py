"""Claims and volumes: binding, provisioning, protection, claims of ephemeral volumes."""
