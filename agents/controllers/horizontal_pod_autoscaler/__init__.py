"""HorizontalPodAutoscalers: how many replicas a workload has, by what its Pods use."""
