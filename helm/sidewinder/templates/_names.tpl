{{/* The names are fixed: certificates, probes and the operator itself know them, and there is one mesh in a cluster. */}}
{{- define "sidewinder.labels" -}}
app.kubernetes.io/name: sidewinder
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sidewinder
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sidewinder.selector" -}}
app.kubernetes.io/name: sidewinder
app.kubernetes.io/component: operator
{{- end -}}

{{/* A reference: registry, name, and the tag unless the name has one or a digest. Called with (list . "operator"). */}}
{{- define "sidewinder.image" -}}
{{- $top := index . 0 -}}
{{- $images := $top.Values.images -}}
{{- $name := get $images (index . 1) -}}
{{- with $images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $name }}{{ if not (regexMatch "[:@]" $name) }}:{{ $images.tag | default $top.Chart.AppVersion }}{{ end }}
{{- end -}}

{{/* Namespaces that are never injected: the system's, the operator's own, and those of the values. */}}
{{- define "sidewinder.systemNamespaces" -}}
{{ concat (list "kube-system" "kube-node-lease" "kube-public" .Release.Namespace) .Values.injection.excludedNamespaces | uniq | toJson }}
{{- end -}}

{{/* What every injected pod gets: the file that the operator reads at its start. */}}
{{- define "sidewinder.injection" -}}
{{- dict
  "image" (include "sidewinder.image" (list . "sidecar"))
  "imagePullPolicy" .Values.images.pullPolicy
  "discovery" (printf "https://sidewinder-operator.%s.svc:15012" .Release.Namespace)
  "resources" .Values.proxy.resources
  "accessLog" .Values.proxy.accessLog
  "logLevel" .Values.proxy.logLevel
  "otlpEndpoint" .Values.proxy.otlpEndpoint
  "drainSeconds" (int .Values.proxy.drainSeconds)
  "excludeInboundPorts" .Values.proxy.excludeInboundPorts
  "excludeOutboundPorts" .Values.proxy.excludeOutboundPorts
  "excludeOutboundNetworks" .Values.proxy.excludeOutboundNetworks
  "systemNamespaces" (include "sidewinder.systemNamespaces" . | fromJsonArray)
  | toPrettyJson }}
{{- end -}}
