"""Checks what schemas cannot: that references between manifests resolve, and that every container is restricted. Called
by scripts/check-deploy: python check.py FOLDER MANIFEST…. Also writes the dashboard's queries to FOLDER as Prometheus
rules, so that promtool can check them."""

import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).parent
FAULTS = []


def report_fault(where, text):
    FAULTS.append(f"{where}: {text}")


def check_manifests(path):
    resources = [resource for resource in yaml.safe_load_all(path.read_text()) if resource]
    named = {(resource["kind"], resource["metadata"]["name"]) for resource in resources}
    workloads = [resource for resource in resources if resource["kind"] in ("Deployment", "Job")]
    labels = [resource["spec"]["template"]["metadata"]["labels"] for resource in workloads]

    def check_selector(selector, where):
        selected = selector.get("matchLabels", selector)
        if not any(selected.items() <= pod_labels.items() for pod_labels in labels):
            report_fault(where, f"selects no pod: {selected}")

    for resource in resources:
        kind, name, spec = resource["kind"], resource["metadata"]["name"], resource.get("spec", {})
        where = f"{path.name}: {kind} {name}"
        if kind in ("Deployment", "Job"):
            check_pod(where, kind, spec["template"]["spec"], named)
        if kind == "Deployment":
            if not spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items():
                report_fault(where, "does not select its own pods")
            for required in ("PodDisruptionBudget", "HorizontalPodAutoscaler", "Service"):
                if (required, name) not in named:
                    report_fault(where, f"has no {required}")
            if "replicas" in spec:
                report_fault(where, "sets replicas, which the autoscaler controls")
        elif kind in ("Service", "PodDisruptionBudget"):
            check_selector(spec["selector"], where)
        elif kind == "HorizontalPodAutoscaler":
            if ("Deployment", spec["scaleTargetRef"]["name"]) not in named:
                report_fault(where, "scales a deployment that does not exist")
        elif kind == "Ingress":
            for rule in spec["rules"]:
                for route in rule["http"]["paths"]:
                    if ("Service", route["backend"]["service"]["name"]) not in named:
                        report_fault(where, "routes to a service that does not exist")
        elif kind == "Secret":
            report_fault(where, "secrets do not belong in manifests")


def check_pod(where, kind, spec, named):
    pod_context = spec["securityContext"]
    if not pod_context.get("runAsNonRoot") or pod_context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        report_fault(where, "may run as root, or without a seccomp profile")
    if spec.get("automountServiceAccountToken") is not False:
        report_fault(where, "mounts a service account token")
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for container in spec["containers"]:
        container_context = container["securityContext"]
        if not container_context["readOnlyRootFilesystem"] or container_context["allowPrivilegeEscalation"] or container_context["capabilities"] != {"drop": ["ALL"]}:
            report_fault(where, "is not restricted")
        for bound in ("requests", "limits"):
            if not {"cpu", "memory"} <= container["resources"][bound].keys():
                report_fault(where, f"has no {bound}")
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe") if kind == "Deployment" else ():
            if container[probe]["httpGet"]["port"] not in ports:
                report_fault(where, f"has no port for its {probe}")
        for source in container.get("envFrom", []):
            if ("ConfigMap", source["configMapRef"]["name"]) not in named:
                report_fault(where, f"takes settings from a ConfigMap that does not exist: {source}")
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes or not mount.get("readOnly"):
                report_fault(where, f"mounts a volume that does not exist, or mounts it writable: {mount}")


def check_collector(path):
    settings = yaml.safe_load(path.read_text())
    used = {"receivers": set(), "processors": set(), "exporters": set()}
    for name, pipeline in settings["service"]["pipelines"].items():
        for part, names in pipeline.items():
            used[part] |= set(names)
            for missing in set(names) - settings[part].keys():
                report_fault(path.name, f"pipeline {name}: there is no {missing} among the {part}")
    for part, names in used.items():
        for idle in settings[part].keys() - names:
            report_fault(path.name, f"{idle} of the {part} is in no pipeline")
    for unknown in settings.keys() - {*used, "extensions", "service"}:
        report_fault(path.name, f"unknown key {unknown}")


def check_dashboard(path, sources, rules):
    board = json.loads(path.read_text())
    known = {source["uid"] for source in yaml.safe_load(sources.read_text())["datasources"]}
    occupied, ids, queries = set(), set(), []
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        if cells & occupied or place["x"] + place["w"] > 24 or panel["id"] in ids:
            report_fault(path.name, f"panel {panel['title']} overlaps another, is outside the grid, or has a duplicate id")
        occupied |= cells
        ids.add(panel["id"])
        if panel["type"] != "row" and panel["datasource"]["uid"] not in known:
            report_fault(path.name, f"panel {panel['title']} uses a data source that is not provisioned")
        queries += [target["expr"].replace("$__rate_interval", "5m") for target in panel.get("targets", [])]
    rule = [{"record": f"dashboard:{number}", "expr": query} for number, query in enumerate(queries)]
    rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rule}]}))


def main():
    for name in sys.argv[2:]:
        check_manifests(pathlib.Path(name))
    check_collector(HERE / "observability/otelcol.yaml")
    grafana = HERE / "observability/grafana"
    rules = pathlib.Path(sys.argv[1]) / "dashboard-rules.yml"
    check_dashboard(grafana / "dashboards/stele.json", grafana / "provisioning/datasources/stele.yml", rules)
    print("\n".join(FAULTS), end="\n" if FAULTS else "")
    return 1 if FAULTS else 0


if __name__ == "__main__":
    sys.exit(main())
