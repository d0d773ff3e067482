//! Names of the simulated entities. When a list is exhausted it is used again with numbers appended.

/// Slug and display name.
pub(super) type Named = (&'static str, &'static str);

pub(super) const AGENTS: &[(&str, &str, &str, Option<&str>)] = &[
    ("sofia", "Sofia", "assistant", Some("Допомагає з управлінням проєктами та задачами")),
    ("alex", "Alex", "analyst", Some("Аналітик даних та метрик")),
    ("guardian", "Guardian", "guardian", Some("Захисник безпеки системи")),
    ("quest", "Quest Master", "quest", None),
    ("node-monitor", "Node Monitor", "node", Some("Watches the machines")),
    ("mavka", "Мавка", "assistant", Some("Садівниця спільнот")),
    ("taras", "Тарас", "writer", Some("Пише підсумки зустрічей")),
    ("lesia", "Леся", "translator", Some("Перекладає між мовами спільнот")),
    ("ada", "Ada", "engineer", Some("Reviews code and keeps builds green")),
    ("hryhorii", "Григорій", "teacher", Some("Пояснює складне простими словами")),
    ("daria", "Дарія", "analyst", Some("Рахує скарбницю")),
    ("orion", "Orion", "scout", Some("Finds grants and partners")),
    ("vesna", "Весна", "community", Some("Вітає нових учасників")),
    ("helios", "Helios", "operator", Some("Balances the load of the nodes")),
    ("bohdan", "Богдан", "guardian", None),
    ("iris", "Iris", "librarian", Some("Keeps the memory of the city in order")),
    ("marta", "Марта", "assistant", None),
    ("nestor", "Нестор", "chronicler", Some("Веде літопис міста")),
    ("zorya", "Зоря", "scout", None),
    ("echo", "Echo", "moderator", Some("Keeps the channels friendly")),
];

pub(super) const MICRODAOS: &[(&str, &str, &str)] = &[
    ("quantum-garden", "Quantum Garden", "Permaculture and compute co-op"),
    ("daarion-city", "DAARION Core", "Децентралізована платформа для AI-агентів та microDAO"),
    ("solar-guild", "Solar Guild", "Panels, batteries and fair prices"),
    ("carpathian-lab", "Карпатська лабораторія", "Дослідження на краю лісу"),
    ("helion-makers", "Helion Makers", "Open hardware for small towns"),
    ("open-library", "Вільна бібліотека", "Книги, переклади та пам'ять міста"),
    ("river-keepers", "Хранителі річок", "Датчики, вода та чисті береги"),
    ("night-school", "Night School", "Evening courses taught by people and agents"),
];

pub(super) const DAOS: &[(&str, &str, &str)] = &[
    ("aurora-circle", "Aurora Circle", "Budget and grants"),
    ("daarion-governance", "DAARION Governance", "Децентралізоване управління екосистемою DAARION"),
    ("sun-treasury", "Sun Treasury", "What the panels earn"),
    ("forest-council", "Рада лісу", "Що досліджувати далі"),
    ("maker-assembly", "Maker Assembly", "Which boards to build"),
    ("reader-union", "Спілка читачів", "Які книги перекладати"),
];

pub(super) const NODES: &[&str] = &[
    "Quantum Relay",
    "Atlas Engine",
    "Dnipro Core",
    "Aurora Forge",
    "Стожари",
    "Helion Stack",
    "Lviv Edge",
    "Чумацький Шлях",
    "Garden Rack",
    "Polaris",
    "Карпати 2",
    "Harbour Light",
];

pub(super) const MODELS: &[(&str, &str)] = &[
    ("gpt-4.1-mini", "openai"),
    ("deepseek-r1", "deepseek"),
    ("qwen3-8b", "local"),
    ("claude-haiku", "anthropic"),
    ("mistral-small", "mistral"),
];

pub(super) const TOOLS: &[Named] = &[
    ("projects.list", "List Projects"),
    ("task.create", "Create Task"),
    ("metrics.get", "Get Metrics"),
    ("analytics.run", "Run Analytics"),
    ("security.check", "Security Check"),
    ("memory.search", "Search Memory"),
    ("node.status", "Node Status"),
];

pub(super) const PROPOSALS: &[Named] = &[
    ("budget", "Budget Allocation"),
    ("node-upgrade", "Upgrade a Node"),
    ("charter", "Charter Revision"),
    ("grant-round", "Раунд грантів"),
    ("new-guardian", "Новий вартовий"),
    ("quiet-hours", "Quiet Hours for Agents"),
];

pub(super) const QUESTS: &[Named] =
    &[("q1", "Visit Space Map"), ("q2", "Vote in DAO proposal"), ("q3", "Познайомся з агентом"), ("q4", "Name a node")];

pub(super) const ACTIONS: &[&str] = &[
    "Summarized DAO events",
    "Answered in the main channel",
    "Перевірила метрики вузлів",
    "Drafted a proposal",
    "Склав підсумок дня",
    "Indexed new documents",
];

pub(super) const ERRORS: &[(&str, &str)] = &[
    ("llm_timeout", "the model did not answer within 30 s"),
    ("tool_failed", "task.create answered 503"),
    ("context_overflow", "the conversation is longer than the model's context"),
];

/// Numbers the entries of a list that is used more than once: `sofia`, later `sofia-2`; `Sofia`, later `Sofia 2`.
pub(super) fn numbered(index: usize, list_len: usize, slug: &str, name: &str) -> (String, String) {
    match index / list_len {
        0 => (slug.to_owned(), name.to_owned()),
        round => (format!("{slug}-{}", round + 1), format!("{name} {}", round + 1)),
    }
}
