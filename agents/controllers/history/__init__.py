"""ControllerRevisions: the templates that a DaemonSet or StatefulSet had."""
