"""What is done to files of the store while no member runs on them: `kubraft-etcdutl`."""
