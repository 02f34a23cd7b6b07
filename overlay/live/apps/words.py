"""Words that several apps draw from: "English|Chinese"."""

NAMES = (
    "Anna|安娜", "Ben|本叔", "Clara|小兰", "David|大卫", "Emma|艾玛", "Frank|老方", "Grace|小雅", "Henry|亨利",
    "Ivy|小艾", "Jack|杰克", "Kate|凯特", "Leo|小雷", "Mia|米娅", "Noah|诺亚", "Olive|小橄", "Paul|保罗",
)  # fmt: skip
TEXTS = (
    "See you soon|一会儿见", "Happy birthday|生日快乐", "I am late|我会迟到", "Call me later|稍后给我打电话",
    "Dinner at eight|八点吃饭", "Thank you|谢谢你", "The train is full|火车坐满了", "Bring the keys|带上钥匙",
    "Good morning|早上好", "No problem|没问题", "Where are you|你在哪里", "It is raining|下雨了",
)  # fmt: skip
THINGS = (
    "Lamp|台灯", "Chair|椅子", "Teapot|茶壶", "Backpack|背包", "Umbrella|雨伞", "Blanket|毛毯", "Kettle|水壶",
    "Mirror|镜子", "Candle|蜡烛", "Pillow|枕头", "Basket|篮子", "Hammer|锤子", "Notebook|笔记本", "Scarf|围巾",
)  # fmt: skip
TOPICS = (
    "Garden|花园", "Budget|预算", "Holiday|假期", "Recipes|菜谱", "Meeting|会议", "School|学校", "Music|音乐",
    "Football|足球", "Travel|旅行", "Painting|绘画", "Weather|天气", "History|历史", "Cooking|烹饪", "Chess|象棋",
)  # fmt: skip
