"""Parts of functions/check.py: pods without a cluster, the cases of the samples, the checks of the runners."""
