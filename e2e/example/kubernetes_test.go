package example

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// These types have the keys of Kubernetes' objects that the example uses.
type (
	objectHead struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Metadata   struct {
			Name string
		}
	}

	labelSelector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	}

	deployment struct {
		objectHead `yaml:",inline"`
		Spec       struct {
			Replicas int
			Strategy struct{ Type string }
			Selector labelSelector
			Template struct {
				Metadata struct{ Labels map[string]string }
				Spec     podSpec
			}
		}
	}

	podSpec struct {
		TopologySpreadConstraints []struct {
			MaxSkew           int           `yaml:"maxSkew"`
			TopologyKey       string        `yaml:"topologyKey"`
			WhenUnsatisfiable string        `yaml:"whenUnsatisfiable"`
			LabelSelector     labelSelector `yaml:"labelSelector"`
		} `yaml:"topologySpreadConstraints"`
		TerminationGracePeriodSeconds int   `yaml:"terminationGracePeriodSeconds"`
		AutomountServiceAccountToken  *bool `yaml:"automountServiceAccountToken"`
		Containers                    []container
		Volumes                       []struct {
			Name      string
			ConfigMap struct{ Name string } `yaml:"configMap"`
			Secret    struct {
				SecretName string `yaml:"secretName"`
			}
			EmptyDir *struct{} `yaml:"emptyDir"`
		}
	}

	container struct {
		Name, Image string
		Command     []string
		Ports       []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		ReadinessProbe struct {
			HTTPGet   struct{ Path, Port string } `yaml:"httpGet"`
			TCPSocket struct{ Port string }       `yaml:"tcpSocket"`
		} `yaml:"readinessProbe"`
		Lifecycle struct {
			PreStop struct {
				Exec struct{ Command []string }
			} `yaml:"preStop"`
		}
		Resources       struct{ Requests, Limits map[string]string }
		SecurityContext struct {
			RunAsNonRoot             bool  `yaml:"runAsNonRoot"`
			RunAsUser                int   `yaml:"runAsUser"`
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct{ Drop, Add []string }
			SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
		} `yaml:"securityContext"`
		VolumeMounts []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}

	service struct {
		objectHead `yaml:",inline"`
		Spec       struct {
			Selector map[string]string
			Ports    []struct {
				Name       string
				Port       int
				TargetPort string `yaml:"targetPort"`
			}
		}
	}

	disruptionBudget struct {
		objectHead `yaml:",inline"`
		Spec       struct {
			MaxUnavailable int `yaml:"maxUnavailable"`
			Selector       labelSelector
		}
	}

	httpRoute struct {
		objectHead `yaml:",inline"`
		Spec       struct {
			ParentRefs []struct{ Name, Namespace string } `yaml:"parentRefs"`
			Hostnames  []string
			Rules      []struct {
				Matches []struct {
					Path struct{ Type, Value string }
				}
				BackendRefs []struct {
					Name string
					Port int
				} `yaml:"backendRefs"`
				Timeouts struct{ Request time.Duration }
			}
		}
	}

	kustomization struct {
		objectHead         `yaml:",inline"`
		Resources          []string
		ConfigMapGenerator []struct {
			Name  string
			Files []string
		} `yaml:"configMapGenerator"`
	}
)

// cluster is what the files of the Kubernetes example create.
type cluster struct {
	kustomization kustomization
	deployments   map[string]deployment
	services      map[string]service
	budget        disruptionBudget
	route         httpRoute
	caddyfile     string
}

const (
	kubernetesCaddyfile     = "kubernetes/Caddyfile"
	kubernetesKustomization = "kubernetes/kustomization.yaml"

	caddyName = "illumichat"
	redisName = "illumichat-redis"
)

func readCluster(t *testing.T) cluster {
	t.Helper()
	c := cluster{
		deployments: make(map[string]deployment),
		services:    make(map[string]service),
		caddyfile:   sitetest.ReadExample(t, kubernetesCaddyfile),
	}
	decodeYAML(t, sitetest.ReadExample(t, "kubernetes/kustomization.yaml"), &c.kustomization)
	for _, file := range c.kustomization.Resources {
		for document := range strings.SplitSeq(sitetest.ReadExample(t, "kubernetes/"+file), "\n---\n") {
			_, kind, _ := strings.Cut("\n"+document, "\nkind: ")
			kind, _, _ = strings.Cut(kind, "\n")
			var head objectHead
			var want string
			switch kind {
			case "Deployment":
				var d deployment
				decodeYAML(t, document, &d)
				head, want = d.objectHead, "apps/v1"
				c.deployments[d.Metadata.Name] = d
			case "Service":
				var s service
				decodeYAML(t, document, &s)
				head, want = s.objectHead, "v1"
				c.services[s.Metadata.Name] = s
			case "PodDisruptionBudget":
				decodeYAML(t, document, &c.budget)
				head, want = c.budget.objectHead, "policy/v1"
			case "HTTPRoute":
				decodeYAML(t, document, &c.route)
				head, want = c.route.objectHead, "gateway.networking.k8s.io/v1"
			default:
				t.Fatalf("%s has an object of the kind %q", file, kind)
			}
			if head.APIVersion != want {
				t.Errorf("%s: the object is %+v, want one of %s", file, head, want)
			}
			// A plain "redis" or "chat" could replace an object that the namespace already has.
			if !strings.HasPrefix(head.Metadata.Name, caddyName) {
				t.Errorf("%s: the name of %+v does not begin with %s", file, head, caddyName)
			}
		}
	}
	if len(c.deployments) != 2 || len(c.services) != 2 {
		t.Fatalf("there are %d Deployments and %d Services", len(c.deployments), len(c.services))
	}
	return c
}

// container returns the only container of a Deployment.
func (c cluster) container(t *testing.T, name string) container {
	t.Helper()
	containers := c.deployments[name].Spec.Template.Spec.Containers
	if len(containers) != 1 {
		t.Fatalf("%s has %d containers", name, len(containers))
	}
	return containers[0]
}

// port returns the number of a container's port.
func (c container) port(t *testing.T, name string) string {
	t.Helper()
	for _, port := range c.Ports {
		if port.Name == name {
			return strconv.Itoa(port.ContainerPort)
		}
	}
	t.Fatalf("the container %s has no port %s", c.Name, name)
	return ""
}

// source returns the Secret, the ConfigMap or "emptyDir" that is mounted at a path of a Deployment's container.
func (c cluster) source(t *testing.T, name, mountPath string) string {
	t.Helper()
	for _, mount := range c.container(t, name).VolumeMounts {
		if mount.MountPath != mountPath {
			continue
		}
		for _, volume := range c.deployments[name].Spec.Template.Spec.Volumes {
			switch {
			case volume.Name != mount.Name:
			case volume.EmptyDir != nil:
				return "emptyDir"
			default:
				return volume.Secret.SecretName + volume.ConfigMap.Name
			}
		}
	}
	t.Fatalf("nothing is mounted at %s in %s", mountPath, name)
	return ""
}

// kustomization.yaml names all files of the folder, and generates the ConfigMap that Caddy's pods mount.
func TestKustomizationHasAllFiles(t *testing.T) {
	c := readCluster(t)
	files, err := filepath.Glob("example/kubernetes/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := path.Base(file)
		if name != "Caddyfile" && name != "kustomization.yaml" && !slices.Contains(c.kustomization.Resources, name) {
			t.Errorf("kustomization.yaml does not list %s", name)
		}
	}
	if c.kustomization.APIVersion != "kustomize.config.k8s.io/v1beta1" || c.kustomization.Kind != "Kustomization" {
		t.Errorf("the kustomization is %+v", c.kustomization.objectHead)
	}
	generated := c.kustomization.ConfigMapGenerator
	if len(generated) != 1 || !slices.Equal(generated[0].Files, []string{"Caddyfile"}) || generated[0].Name != c.source(t, caddyName, "/etc/caddy") {
		t.Errorf("the ConfigMap of the Caddyfile is not mounted, but %+v", generated)
	}
}

// A pod gets no new chats when it stops, and then has the time to complete every answer.
func TestPodsStopGently(t *testing.T) {
	c := readCluster(t)
	grace, longest := duration(t, c.caddyfile, "grace_period"), defaultDuration(t, "max_duration")
	// Caddy ends open streams a second before the end of the grace period.
	if grace-time.Second <= longest {
		t.Errorf("the grace period is %s, and an answer may take %s", grace, longest)
	}
	stop := c.container(t, caddyName).Lifecycle.PreStop.Exec.Command
	if len(stop) != 2 || stop[0] != "sleep" {
		t.Fatalf("preStop is %q", stop)
	}
	before := parseDuration(t, stop[1]+"s")
	if wait := time.Duration(c.deployments[caddyName].Spec.Template.Spec.TerminationGracePeriodSeconds) * time.Second; before < 5*time.Second || wait < before+grace+time.Second {
		t.Errorf("Kubernetes kills a pod after %s, which are to include %s of preStop and %s of grace period", wait, before, grace)
	}
}

// The Gateway waits for the longest answer, which may follow the slowest upload of a question.
func TestGatewayWaitsForAnswers(t *testing.T) {
	c := readCluster(t)
	for _, rule := range c.route.Spec.Rules {
		if got, longest := rule.Timeouts.Request, defaultDuration(t, "body_timeout")+defaultDuration(t, "max_duration"); got <= longest {
			t.Errorf("the Gateway ends a request after %s, and one may take %s", got, longest)
		}
	}
}

// Drained or failing nodes leave most Caddys running. The only Redis may move, because chats go on without it.
func TestPodsSurviveLostNodes(t *testing.T) {
	c := readCluster(t)
	labels := c.deployments[caddyName].Spec.Template.Metadata.Labels
	if budget := c.budget.Spec; budget.MaxUnavailable != 1 || !maps.Equal(budget.Selector.MatchLabels, labels) {
		t.Errorf("the budget is %+v, for pods with the labels %v", budget, labels)
	}
	spread := c.deployments[caddyName].Spec.Template.Spec.TopologySpreadConstraints
	if len(spread) != 1 || spread[0].MaxSkew != 1 || spread[0].TopologyKey != "kubernetes.io/hostname" || !maps.Equal(spread[0].LabelSelector.MatchLabels, labels) {
		t.Errorf("pods with the labels %v are spread by %+v", labels, spread)
	}
	// A cluster of one node gets all pods.
	if len(spread) > 0 && spread[0].WhenUnsatisfiable != "ScheduleAnyway" {
		t.Errorf("pods that cannot be spread are handled by %s", spread[0].WhenUnsatisfiable)
	}
}

// The ports of the Caddyfile are those of the container, of its probe, and of what leads to it.
func TestPortsOfPods(t *testing.T) {
	c := readCluster(t)
	for name, s := range c.services {
		d, ok := c.deployments[name]
		labels := d.Spec.Template.Metadata.Labels
		if !ok || labels["app"] == "" || s.Spec.Selector["app"] != labels["app"] || d.Spec.Selector.MatchLabels["app"] != labels["app"] {
			t.Errorf("the Service %s selects %v, its pods have %v and the Deployment selects %v", name, s.Spec.Selector, labels, d.Spec.Selector.MatchLabels)
		}
		if len(s.Spec.Ports) != 1 {
			t.Fatalf("the Service %s has %d ports", name, len(s.Spec.Ports))
		}
	}
	caddy, redis := c.container(t, caddyName), c.container(t, redisName)
	if site := "http://:" + caddy.port(t, c.services[caddyName].Spec.Ports[0].TargetPort) + " {\n\tillumichat "; strings.Count(c.caddyfile, site) != 1 {
		t.Errorf("the Caddyfile has no %q", site)
	}
	probe := caddy.ReadinessProbe.HTTPGet
	if site := "http://:" + caddy.port(t, probe.Port) + " {\n\trespond " + probe.Path + " OK\n"; strings.Count(c.caddyfile, site) != 1 {
		t.Errorf("the Caddyfile has no %q", site)
	}
	if c.services[caddyName].Spec.Ports[0].TargetPort == probe.Port {
		t.Error("the Service leads to the port of the probe")
	}

	host, port, _ := strings.Cut(option(t, c.caddyfile, "address"), ":")
	s, ok := c.services[host]
	if !ok || strconv.Itoa(s.Spec.Ports[0].Port) != port || redis.port(t, s.Spec.Ports[0].TargetPort) != "6379" {
		t.Errorf("the Caddyfile's Redis is %s:%s, and the Service is %+v", host, port, s.Spec)
	}
	redis.port(t, redis.ReadinessProbe.TCPSocket.Port)

	route := c.route.Spec
	if len(route.ParentRefs) != 1 || len(route.Hostnames) != 1 || len(route.Rules) != 1 || len(route.Rules[0].Matches) != 1 || len(route.Rules[0].BackendRefs) != 1 {
		t.Fatalf("the HTTPRoute is %+v", route)
	}
	if backend := route.Rules[0].BackendRefs[0]; backend.Name != caddyName || backend.Port != c.services[caddyName].Spec.Ports[0].Port {
		t.Errorf("the HTTPRoute leads to %+v", backend)
	}
	match := route.Rules[0].Matches[0].Path
	if match.Type != "Exact" || !strings.Contains(c.caddyfile, "\tillumichat "+match.Value+" {\n") {
		t.Errorf("the HTTPRoute has the path %+v", match)
	}
	wantCheckOfURL(t, kubernetesKustomization, "https://"+route.Hostnames[0]+match.Value)
}

// Each Secret is mounted where the Caddyfile and the command of Redis read it, and the commands at the top create it.
func TestSecretsOfPods(t *testing.T) {
	c := readCluster(t)
	steps := header(t, kubernetesKustomization)
	for _, secret := range []struct{ deployment, placeholder, create string }{
		{caddyName, option(t, c.caddyfile, "token"), "kubectl create secret generic illumichat --from-file=token="},
		{caddyName, option(t, c.caddyfile, "password"), "kubectl create secret generic illumichat-redis --from-literal=password="},
		{redisName, strings.NewReplacer("$(cat ", "{file.", ")", "}").Replace(redisPassword(t, c)), "kubectl create secret generic illumichat-redis --from-literal=password="},
	} {
		file, ok := strings.CutPrefix(strings.TrimSuffix(secret.placeholder, "}"), "{file.")
		if !ok {
			t.Fatalf("%s is no file", secret.placeholder)
		}
		source := c.source(t, secret.deployment, path.Dir(file))
		created := fmt.Sprintf("kubectl create secret generic %s --from-", source)
		if !strings.HasPrefix(secret.create, created) || !strings.HasSuffix(secret.create, "="+path.Base(file)+"=") || !strings.Contains(steps, "#      "+secret.create) {
			t.Errorf("%s is from the Secret %s, and the header should say %q", file, source, secret.create)
		}
	}
	for name := range c.deployments {
		for _, mount := range c.container(t, name).VolumeMounts {
			if strings.HasPrefix(mount.MountPath, "/run/secrets/") && !mount.ReadOnly {
				t.Errorf("%s can write to %s", name, mount.MountPath)
			}
		}
	}
	// Redis reads the password only when it starts, so the header of its file says how to restart it.
	if restart := "#      kubectl rollout restart deployment/" + redisName + "\n"; !strings.Contains(header(t, "kubernetes/redis.yaml"), restart) {
		t.Errorf("redis.yaml does not say %q", restart)
	}
}

// redisPassword returns the words by which the command of Redis reads its password.
func redisPassword(t *testing.T, c cluster) string {
	t.Helper()
	command := c.container(t, redisName).Command
	_, words, _ := strings.Cut(command[len(command)-1], "\nrequirepass ")
	words, _, ok := strings.Cut(words, "\n")
	if !ok {
		t.Fatalf("Redis has no password, by %q", command)
	}
	return words
}

// Pods may do only what they need: no root, no files to write but in their volumes, no access to Kubernetes. That is Kubernetes'
// restricted Pod Security Standard, and more. The versions of the images are those of the Compose example.
func TestPodsAreConfined(t *testing.T) {
	c := readCluster(t)
	for name, d := range c.deployments {
		pod, container := d.Spec.Template.Spec, c.container(t, name)
		security := container.SecurityContext
		if !security.RunAsNonRoot || security.RunAsUser == 0 || !security.ReadOnlyRootFilesystem || !slices.Equal(security.Capabilities.Drop, []string{"ALL"}) ||
			security.AllowPrivilegeEscalation == nil || *security.AllowPrivilegeEscalation || security.SeccompProfile.Type != "RuntimeDefault" {
			t.Errorf("%s may do more than it needs: %+v", name, security)
		}
		if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
			t.Errorf("%s has a token for Kubernetes", name)
		}
		for _, amounts := range []map[string]string{container.Resources.Requests, container.Resources.Limits} {
			if amounts["memory"] == "" {
				t.Errorf("%s asks for no memory, or has no limit: %+v", name, container.Resources)
			}
		}
	}
	// Caddy's image has this file capability, so the kernel does not start it without.
	if add := c.container(t, caddyName).SecurityContext.Capabilities.Add; !slices.Equal(add, []string{"NET_BIND_SERVICE"}) {
		t.Errorf("Caddy gets the capabilities %q", add)
	}
	for _, mountPath := range []string{"/data", "/config"} {
		if c.source(t, caddyName, mountPath) != "emptyDir" {
			t.Errorf("Caddy cannot write to %s", mountPath)
		}
	}
	if c.deployments[caddyName].Spec.Replicas < 2 || c.deployments[redisName].Spec.Replicas != 1 || c.deployments[redisName].Spec.Strategy.Type != "Recreate" {
		t.Error("there are not several Caddys with one Redis")
	}

	_, redis, _ := readCompose(t)
	if image := c.container(t, redisName).Image; image != redis.Image {
		t.Errorf("the image of Redis is %s, and %s with Compose", image, redis.Image)
	}
	image := c.container(t, caddyName).Image
	_, tag, _ := strings.Cut(image, ":")
	version, module, ok := strings.Cut(tag, "-")
	if want := caddyVersion(t, sitetest.ReadExample(t, "compose/Dockerfile")); version != want || !ok {
		t.Errorf("the image of Caddy is %s, and the Dockerfile has %s", image, want)
	}
	build := "docker build --build-arg ILLUMICHAT_VERSION=" + module + " --tag " + image + " example/compose"
	exec := "kubectl exec deployment/" + caddyName + " -- caddy illumichat check --config /etc/caddy/Caddyfile"
	for _, command := range []string{build, "docker push " + image, exec} {
		if !strings.Contains(header(t, kubernetesKustomization), "#      "+command+"\n") {
			t.Errorf("kustomization.yaml does not say %q", command)
		}
	}
}

// startAsInPod starts Redis by the command of its container, with a password file and a port of this machine. It returns the
// address, and a function that stops this Redis as Kubernetes would.
func startAsInPod(t *testing.T, c cluster, passwordFile string) (address string, stop func()) {
	t.Helper()
	require.Program(t, "redis-server")
	command := slices.Clone(c.container(t, redisName).Command)
	port := localhost.Port(t)
	script := &command[len(command)-1]
	*script = replaceEach(t, *script, redisPassword(t, c), fmt.Sprintf("$(cat %s)\nport %d\nbind 127.0.0.1", passwordFile, port))
	run := exec.CommandContext(t.Context(), command[0], command[1:]...)
	run.Dir = t.TempDir()
	var output bytes.Buffer
	run.Stdout, run.Stderr = &output, &output
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		_ = run.Wait() // which has an error if it is called again
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(output.String())
		}
		if written, err := os.ReadDir(run.Dir); err != nil || len(written) > 0 {
			t.Errorf("Redis has written %v, %v", written, err)
		}
	})
	return fmt.Sprintf("127.0.0.1:%d", port), stop
}

// Pods with the Caddyfile of the Kubernetes example count together, continue the answers of one another, know the visitors behind
// a Gateway, are ready without asking anybody, and complete their answers when they stop.
func TestExampleOfKubernetes(t *testing.T) {
	const site, probe = "http://127.0.0.1:8080", "http://127.0.0.1:9180"
	c := readCluster(t)
	const password = "correct-horse-battery-staple"
	token, passwordFile := secretFile(t, sandbox.Token), secretFile(t, password)
	address, stopRedis := startAsInPod(t, c, passwordFile)
	run := func() *sitetest.RunningExample {
		return sitetest.RunDeployed(t, kubernetesCaddyfile, sandbox.Options{}, func(text string) string {
			return replaceEach(t, toSandbox(t, text, token),
				"address "+redisName+":6379", "address "+address,
				option(t, text, "password"), "{file."+passwordFile+"}")
		})
	}
	pods := []*sitetest.RunningExample{run(), run()}
	path := c.container(t, caddyName).ReadinessProbe.HTTPGet.Path
	for _, pod := range pods {
		wantReady(t, pod, probe+path)
		pod.WantLimits(t, "5/30s 20/1h 2000/24h:everyone, 200 open, 3 a client")
		sitetest.Eventually(t, "Redis lets the pod in", func() bool { return isUp(t, pod, probe) == "1" })
	}

	// A Gateway, which has a private address, states the visitor's. A visitor cannot claim another one.
	alice := "X-Forwarded-For: 203.0.113.7"
	first := pods[0].Chat(t, site, sitetest.Anyone, alice)
	wantLeft(t, first, 19)
	sitetest.WantAnswer(t, first)
	wantContinued(t, first, pods[1], site+sitetest.ChatPath)
	second := pods[1].Chat(t, site, sitetest.Anyone, "X-Forwarded-For: 198.51.100.9, 203.0.113.7")
	wantLeft(t, second, 18)
	sitetest.WantAnswer(t, second)
	bob := pods[1].Chat(t, site, sitetest.Anyone, "X-Forwarded-For: 203.0.113.8")
	wantLeft(t, bob, 19)
	sitetest.WantAnswer(t, bob)

	// A stopping pod completes its answer.
	open := pods[1].Chat(t, site, sitetest.Saying("/drip 100 200ms /events 10"), "X-Forwarded-For: 203.0.113.9")
	pods[1].Exit(t)
	select {
	case <-pods[1].Upstream.Request(t, 2).Done():
		t.Error("the answer was complete before the pod stopped")
	default:
	}
	sitetest.WantAnswer(t, open)
	pods[1].Wait(t)

	// Without Redis, a pod is ready and answers.
	stopRedis()
	sitetest.Eventually(t, "the pod knows that Redis is down", func() bool { return isUp(t, pods[0], probe) == "0" })
	wantReady(t, pods[0], probe+path)
	sitetest.WantAnswer(t, pods[0].Chat(t, site, sitetest.Anyone, "X-Forwarded-For: 203.0.113.10"))

	// The probes have cost no chat.
	if asked := len(pods[0].Upstream.Requests()); asked != 2 {
		t.Errorf("%d chats have gone upstream from the first pod, want 2", asked)
	}
}

// wantReady checks the answer to the readiness probe. Its text matters, because Caddy answers unknown paths with an empty 200.
func wantReady(t *testing.T, pod *sitetest.RunningExample, url string) {
	t.Helper()
	resp := pod.Get(t, url)
	if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || body != "OK" {
		t.Errorf("the probe gets %s, %q", resp.Status, body)
	}
}

// isUp returns the value of the metric that says whether a pod reaches Redis.
func isUp(t *testing.T, pod *sitetest.RunningExample, metrics string) string {
	t.Helper()
	_, value, _ := strings.Cut(sitetest.ReadAll(t, pod.Get(t, metrics+"/metrics")), "\ncaddy_illumichat_redis_up ")
	value, _, _ = strings.Cut(value, "\n")
	return value
}
