"""tesnap: ThousandEyes test snapshots in bulk, at the pace the API allows, with nothing lost or made twice."""

__version__ = "0.1.0"
