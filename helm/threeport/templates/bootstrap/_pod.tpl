{{- /* The pod of the bootstrap Job and of the renewal: the same step, never overwriting, renewing what ends soon. */ -}}
{{- define "threeport.bootstrapPod" -}}
{{- $prefix := include "threeport.prefix" .root -}}
metadata:
  labels:
    {{- include "threeport.podLabels" (dict "root" .root "component" .account) | nindent 4 }}
spec:
  serviceAccountName: {{ $prefix }}-{{ .account }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  restartPolicy: Never
  imagePullSecrets: {{ include "threeport.pullSecrets" .root }}
  securityContext:
    {{- include "threeport.podSecurity" .root | nindent 4 }}
  containers:
    - name: bootstrap
      image: {{ include "threeport.image" (dict "root" .root "name" "api") }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        - bootstrap
        - --namespace={{ .root.Release.Namespace }}
        - --name={{ $prefix }}
        {{- range .root.Values.api.tls.additionalNames }}
        - --dns={{ . }}
        {{- end }}
        {{- with .root.Values.api.ingress.host }}
        - --dns={{ . }}
        {{- end }}
      securityContext:
        {{- include "threeport.containerSecurity" .root | nindent 8 }}
      resources:
        requests: {cpu: 20m, memory: 32Mi}
        limits: {cpu: "1", memory: 128Mi}
{{- end }}

{{- /* What the step may do: create Secrets and a ConfigMap, and read and renew exactly its own. */ -}}
{{- define "threeport.bootstrapRules" -}}
{{- $prefix := include "threeport.prefix" . -}}
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames:
    - {{ $prefix }}-ca
    - {{ $prefix }}-api-tls
    - {{ $prefix }}-nats-tls
    - {{ $prefix }}-encryption-key
    - {{ $prefix }}-admin-token
    - {{ $prefix }}-nats-auth
  verbs: [get, update, patch]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ $prefix }}-ca]
  verbs: [get, update, patch]
{{- end }}
