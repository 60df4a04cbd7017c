"""CronJobs: Jobs made by a schedule."""
