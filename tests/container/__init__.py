"""The image, built by a real builder and run by a real runtime (`make container-test`): needs root, podman and runc."""
