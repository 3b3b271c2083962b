# The test bed: a real Kubernetes cluster on this machine. Included by the root Makefile.
NODES ?= 2
BED   := $(BIN)/python tests/cluster/bed

.PHONY: cluster-up
cluster-up: $(VENV) ## A real Kubernetes cluster on this machine (NODES=2; as root)
	$(BED) up --nodes $(NODES)

.PHONY: cluster-down
cluster-down: $(VENV) ## Take it away, with everything it made
	$(BED) down

.PHONY: cluster-status
cluster-status: $(VENV) ## Its nodes, what runs on them and what ended
	$(BED) status

.PHONY: images
images: $(VENV) ## Images of the project and its test applications, built where their inputs changed (as root)
	$(BIN)/python -m tests.cluster.images

.PHONY: cluster-install
cluster-install: $(VENV) ## Images and chart onto the cluster of `make cluster-up`, to try things by hand (as root)
	$(BIN)/python -m tests.cluster.install

.PHONY: chart
chart: $(VENV) ## Renew what the chart and its page repeat: CRDs and the table of values
	rm -f helm/sidewinder/files/crds/*.yaml && cp crds/*.yaml helm/sidewinder/files/crds/
	$(BIN)/python helm/reference.py > docs/reference/chart.md
	$(BIN)/python -m sidewinder_operator.inject.annotations > docs/reference/annotations.md

.PHONY: test-cluster
test-cluster: $(VENV) ## Everything that is proven on a real cluster (CLUSTER=bed, kind or running)
	$(BIN)/pytest -q -m cluster --reruns 1 tests
