"""What `focalnet-d2 doctor` looks at: the installation, the machine and the data sets."""
