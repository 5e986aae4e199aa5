{{- /* auth.conf (users and passwords) is made by the bootstrap step and lies beside this file in the pod. */ -}}
{{- define "threeport.natsConfig" -}}
server_name: {{ include "threeport.prefix" . }}-nats
listen: 0.0.0.0:4222
http: 0.0.0.0:8222
tls {
  cert_file: /etc/nats/tls.crt
  key_file: /etc/nats/tls.key
}
jetstream {
  store_dir: /var/lib/nats
  max_memory_store: {{ .Values.nats.memoryStore | replace "i" "iB" }}
  max_file_store: 0
}
include auth.conf
{{- end }}
