//! Measures proxies that authenticate: Bulla's gateway, nginx that asks Bulla, nginx that asks a server that always says yes, and nginx
//! without authentication, all before the same app.
//!
//! Everything that a variant needs besides the app runs on one core: the proxy, and the server that it asks. The app (nginx with a
//! fixed answer) and `wrk` run on another one. The variants take turns.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use bulla::internals::{
    clock::{Clock as _, SystemClock},
    http::{Bulla, Serve, Site, UpstreamSettings, serve as start},
    keyring::{KeyDirectory, Suite},
};
use bulla_bench::{access_cookie, median, table};

const VARIANTS: [(&str, &str); 4] = [
    ("plain", "nginx, no authentication"),
    ("gateway", "Bulla's gateway"),
    ("asks", "nginx, auth_request to Bulla"),
    ("yes", "nginx, auth_request to a server that says yes"),
];
const ROUNDS: usize = 11;
const SECONDS: u64 = 1;
const CONNECTIONS: &str = "32";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => drive(),
        ["serve", port, front, app] => serve(port, front, app),
        _ => {
            eprintln!("usage: gateway [serve PORT FRONT APP]");
            ExitCode::from(2)
        }
    }
}

/// What one run of `wrk` has measured.
struct Run {
    per_second: f64,
    p50: f64,
    p99: f64,
    /// Microseconds of processor time of the proxy and of the server that it asks, for each request.
    processor: f64,
}

fn drive() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let [app, front, back] = [(); 3].map(|()| free_port());
    let _app = nginx(
        folder.path(),
        "app",
        1,
        &format!("server {{ listen 127.0.0.1:{app}; location / {{ return 200 ok; }} }}"),
    );
    let mut runs: Vec<Vec<Run>> = VARIANTS.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        for (at, (variant, _)) in VARIANTS.iter().enumerate() {
            runs[at].push(run(variant, folder.path(), [app, front, back]));
            eprint!("\rround {} of {ROUNDS}, {variant:<10}", round + 1);
        }
    }
    eprintln!();
    let of = |at: usize, figure: fn(&Run) -> f64| median(&runs[at].iter().map(figure).collect::<Vec<_>>());
    // The median of the ratios of each round: a slow period of the machine affects both sides of a ratio.
    let ratio = |one: usize, other: usize| {
        let pairs = runs[one].iter().zip(&runs[other]);
        median(&pairs.map(|(one, other)| one.per_second / other.per_second).collect::<Vec<_>>())
    };
    let rows = VARIANTS.iter().enumerate().map(|(at, (_, name))| {
        vec![
            (*name).to_owned(),
            table::thousands(of(at, |run| run.per_second)),
            format!("{:.2}", ratio(at, 0)),
            format!("{:.2}", of(at, |run| run.p50)),
            format!("{:.2}", of(at, |run| run.p99)),
            format!("{:.0}", of(at, |run| run.processor)),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    println!(
        "One core for the proxy and the server that it asks, {CONNECTIONS} connections, median of {ROUNDS} rounds of {SECONDS} s; \
         each ratio is the median of the ratios of the rounds\n"
    );
    let head = ["", "requests/s", "of nginx", "p50 ms", "p99 ms", "CPU µs/request"];
    table::print(&head, &rows);
    println!();
    let kept = [
        table::verdict("gateway / nginx that asks Bulla", ratio(1, 2), 1.0, false),
        table::verdict("gateway / nginx alone", ratio(1, 0), 0.6, false),
    ];
    if kept.iter().all(|kept| *kept) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A process that is ended on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx as one process on one core.
fn nginx(folder: &Path, name: &str, core: u8, servers: &str) -> Running {
    let file = folder.join(format!("{name}.conf"));
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folder = folder.display();
    let temporary: String = temporary.iter().map(|name| format!("{name}_temp_path {folder}; ")).collect();
    let configuration = format!(
        "daemon off; master_process off; pid {folder}/{name}.pid; error_log stderr crit; events {{}}\n\
         http {{ access_log off; keepalive_requests 1000000; {temporary}\n{servers}\n}}"
    );
    std::fs::write(&file, configuration).expect("a file");
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), "nginx", "-e", "stderr", "-c"]).arg(file);
    Running(command.stdin(Stdio::null()).spawn().expect("taskset and nginx start"))
}

/// The servers of nginx for a variant. Connections to the app and to the asked server are kept.
fn servers(variant: &str, [app, front, back]: [u16; 3]) -> String {
    let kept = "proxy_http_version 1.1; proxy_set_header Connection \"\";";
    let yes = free_port();
    let (asked, ask) = match variant {
        "plain" => (back, ""),
        "asks" => (
            back,
            "auth_request /verify; auth_request_set $user $upstream_http_remote_user; proxy_set_header Remote-User $user; \
            auth_request_set $cookie_of_app $upstream_http_cookie; proxy_set_header Cookie $cookie_of_app;",
        ),
        _ => (yes, "auth_request /verify;"),
    };
    format!(
        "upstream app {{ server 127.0.0.1:{app}; keepalive 64; }} upstream asked {{ server 127.0.0.1:{asked}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{yes}; location / {{ return 200 ok; }} }}\n\
         server {{ listen 127.0.0.1:{front};\n\
           location / {{ {ask} proxy_pass http://app; proxy_set_header Host $http_host; {kept} }}\n\
           location = /verify {{ internal; proxy_pass http://asked/auth/verify; proxy_pass_request_body off; {kept}\n\
             proxy_set_header Content-Length \"\"; proxy_set_header Host $http_host;\n\
             proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URI $request_uri;\n\
             proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; }} }}"
    )
}

fn run(variant: &str, folder: &Path, ports: [u16; 3]) -> Run {
    let [app, front, back] = ports;
    let is_gateway = variant == "gateway";
    // The gateway listens where nginx does in the other variants. The others need the cookie, so that all requests are the same.
    let port = if is_gateway { front } else { back };
    let upstream = if is_gateway { format!("http://127.0.0.1:{app}") } else { String::new() };
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(this).args(["serve", &port.to_string(), &front.to_string(), &upstream]);
    let mut bulla = Running(command.stdout(Stdio::piped()).spawn().expect("taskset starts the server"));
    let mut cookie = String::new();
    let stdout = bulla.0.stdout.take().expect("piped");
    BufReader::new(stdout).read_line(&mut cookie).expect("the server prints the cookie");
    let proxy = (!is_gateway).then(|| nginx(folder, "front", 0, &servers(variant, ports)));
    while std::net::TcpStream::connect(("127.0.0.1", front)).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let wrk = || {
        Command::new("taskset")
            .args(["-c", "1", "wrk", "--latency", "-t", "1", "-c", CONNECTIONS, "-d", &format!("{SECONDS}s")])
            .args(["-H", &format!("Host: localhost:{front}"), "-H", "Accept: application/json"])
            .args(["-H", "Sec-Fetch-Site: same-origin", "-H", "Sec-Fetch-Mode: cors"])
            .args(["-H", &format!("Cookie: {}", cookie.trim())])
            .arg(format!("http://127.0.0.1:{front}/"))
            .output()
            .expect("wrk (Debian package wrk) runs")
    };
    // The first second after a start is not measured: the server prepares its pool for passwords then.
    wrk();
    let measured: Vec<u32> =
        [Some(bulla.0.id()), proxy.as_ref().map(|proxy| proxy.0.id())].into_iter().flatten().collect();
    let before: f64 = measured.iter().map(|pid| processor_time(*pid)).sum();
    let output = wrk();
    let spent = measured.iter().map(|pid| processor_time(*pid)).sum::<f64>() - before;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "{variant} refused: {text}");
    let word = |start: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start));
        line.unwrap_or_else(|| panic!("wrk says: {text}")).trim().to_owned()
    };
    let per_second: f64 = word("Requests/sec:").parse().expect("a number");
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in"))
        .expect("a count")
        .0
        .parse()
        .expect("a number");
    Run {
        per_second,
        p50: millis(&word("50%")),
        p99: millis(&word("99%")),
        processor: spent * 1e6 / requests,
    }
}

/// A time of `wrk`, such as `1.20ms`, in milliseconds.
fn millis(text: &str) -> f64 {
    let number = |unit: &str| text.strip_suffix(unit).and_then(|number| number.parse::<f64>().ok());
    let units = [number("us").map(|us| us / 1000.0), number("ms"), number("s").map(|s| s * 1000.0)];
    units.into_iter().flatten().next().unwrap_or_else(|| panic!("wrk prints the time {text}"))
}

/// The processor time of a process, in seconds.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Fields 14 and 15, in ticks of 10 ms (proc_pid_stat(5)).
    let ticks = |at: usize| fields.get(at - 3).and_then(|ticks| ticks.parse::<f64>().ok()).expect("a number");
    (ticks(14) + ticks(15)) / 100.0
}

/// Serves Bulla: as the gateway if an app is named, else for the proxy in front. Prints the cookie of a session.
#[actix_web::main]
async fn serve(port: &str, front: &str, app: &str) -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys");
    KeyDirectory::new(&keys).init_at(Suite::Xaes256Gcm, SystemClock.now()).expect("a ring");
    let site = Site::loopback(front.parse().expect("a port"), false);
    let site = site.trust([("127.0.0.1".parse().expect("an address"), 32)]);
    let bulla =
        Bulla::builder(keys, folder.path().join("bulla.db")).site(site).start().await.expect("it starts");
    let listener = TcpListener::bind(("127.0.0.1", port.parse().expect("a port"))).expect("the port is free");
    let upstreams = match app {
        "" => Vec::new(),
        app => vec![UpstreamSettings::of_url(app).expect("a URL")],
    };
    let how = Serve {
        workers: 1,
        shutdown_timeout: Duration::from_secs(1),
        tls: None,
        admin: None,
        upstreams,
        pulse: Default::default(),
    };
    let server = start(&bulla, listener, how).expect("it serves");
    println!("{}", access_cookie(&bulla).await);
    std::io::stdout().flush().expect("stdout is open");
    server.await.expect("it serves");
    ExitCode::SUCCESS
}
